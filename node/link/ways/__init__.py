"""Whether others can dial this node, and relays for those that cannot be dialled."""
