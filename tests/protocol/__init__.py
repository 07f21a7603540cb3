"""Facts about what peers say to each other."""
