"""What a node says of its own energy, and an auditor of others'. Pure."""
