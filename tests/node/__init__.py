"""Facts about one node: events in, actions out."""
