"""Facts about what has been said, and what follows from it."""
