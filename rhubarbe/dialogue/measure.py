"""How much a node may say: whoever runs a program there could write without end.

No line of it is longer than `text.LONGEST_LINE`; so all this bounds memory, time and the log.
"""

# Bytes and lines of one session: more than any program that we run there has to say in days.
MOST_SAID = 8 << 20
MOST_LINES = 100_000
# Bytes of a session that only shows whether a shell answers.
MOST_SAID_TO_A_LOOK = 64 << 10
# Bytes of a node's words that one command shows on displays and writes into the log.
MOST_TOLD = 1 << 20
# What stands around a line in the log, at most.
AROUND = 100


class Measure:
    """Counts what a node says in one session."""

    def __init__(self, most: int = MOST_SAID) -> None:
        self._said = most
        self._lines = MOST_LINES

    def allows(self, piece: str) -> bool:
        """Take the next piece; tell whether all is still within measure."""
        self._said -= len(piece)
        self._lines -= piece.count("\n") + piece.count("\r")
        return self._said >= 0 and self._lines >= 0


class Share:
    """What is told of a node in one command; the rest of its words is left out."""

    def __init__(self, most: int = MOST_TOLD) -> None:
        self._left = most
        self.is_used_up = False

    def allows(self, line: str) -> bool:
        """Take a line; tell whether it may be told."""
        self._left -= len(line.encode(errors="replace")) + AROUND
        return self._left >= 0
