"""What peers say to each other: bytes in, checked values out. Pure: no clock, no socket, no file."""
