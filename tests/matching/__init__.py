"""Facts about `node.matching`."""
