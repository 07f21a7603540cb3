"""A node's files, and whatever is read from files that people write or export."""
