"""Facts about whole networks in virtual time."""
