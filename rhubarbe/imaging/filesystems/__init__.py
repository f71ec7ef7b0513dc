"""Which sectors of a partition are in use, by what is on it; each kind has a module of its own."""
