"""Vectors: what any implementation of the protocol must make of these bytes. `python -m tests.vectors` writes them."""
