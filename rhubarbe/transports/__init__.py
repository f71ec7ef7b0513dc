"""Doors to a node: one library each; they raise our errors and know no events."""
