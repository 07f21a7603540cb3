"""Streams over one connection: Noise under one buffer, and yamux."""
