"""Which sectors of a filesystem are in use."""
