"""Facts seen over real sockets, between real processes."""
