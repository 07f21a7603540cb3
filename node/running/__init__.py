"""The shell around the core: events in, actions carried out."""
