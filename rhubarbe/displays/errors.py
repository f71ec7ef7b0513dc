"""What can go wrong with a window."""


class NoTerminal(ValueError):
    """A display needs a terminal and standard output is none, or one that cannot be drawn on."""
