"""What somebody else wrote, on one line, fit for a terminal, a table and a log."""

import re

LONGEST_LINE = 500

_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.")


def plain(text: str, limit: int = LONGEST_LINE) -> str:
    """Return text on one line of at most `limit` characters, without any that cannot be seen.

    Whole escape sequences go; blanks of any kind, line ends included, become one space.
    """
    text = _SEQUENCES.sub("", " ".join(text[: 8 * limit].split()))
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isprintable())
    return " ".join(text.split())[:limit].rstrip()
