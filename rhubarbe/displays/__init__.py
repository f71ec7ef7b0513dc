"""Windows: events in, terminal out."""
