"""Text that others wrote, made fit for a line of ours: names of files, words of nodes and users."""

import re
import time

LIMIT = 1000
"""The longest line that a display ever gets, in characters."""

LONGEST_LINE = 500
"""The longest line that is taken from a node, in characters."""

HIDDEN = "(not shown)"
"""What stands for a secret."""

SHORTEST_HIDDEN = 4

_KIB = 1024
_MIB = _KIB * _KIB

BYTES = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
"""How a byte is shown that was no text, by the letter that carries it in Python (PEP 383)."""

# What begins a string ends the one before, as on terminals: so a text takes no longer than it is.
_ESCAPES = re.compile(
    r"""(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]                            # CSI: colours, moves
    |   (?:\x1b\]|\x9d)[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)   # OSC: titles, clipboard
    |   (?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x80-\x9f]*(?:\x1b\\|\x9c)  # DCS, SOS, PM, APC
    |   \x1b[ -/]*[0-~]                                             # the short ones
    """,
    re.VERBOSE,
)


_hidden: set[str] = set()


def hide(secret: str) -> None:
    """Have no text shown with this secret in it from now on: who is told one may repeat it.

    Not one that is so short that any text has it.
    """
    quoted = repr(secret)[1:-1]  # as an answer is told that is quoted
    _hidden.update(form for form in (secret, quoted) if len(form) >= SHORTEST_HIDDEN)


def mask(text: str) -> str:
    """Return a text of others without the secrets that they were told."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def sanitise(text: str, limit: int = LIMIT) -> str:
    r"""Make one printable line of `text`, of at most `limit` characters.

    Escape sequences and all other control and formatting characters go; blanks of any kind,
    line ends included, become one space. A byte that was no text is written as `\xe9`. Secrets that
    are hidden go as well.
    """
    text = mask(text[: 8 * limit])
    text = " ".join(_ESCAPES.sub("", text).split()).translate(BYTES)
    if not text.isprintable():
        text = " ".join("".join(filter(str.isprintable, text)).split())
    text = mask(text)  # also one that was in pieces
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def size_of(count: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.4g} {unit}"
        count /= _KIB
    return f"{count:.4g} TiB"


def date_and_size(modified: float, size: int) -> str:
    """Return how a row on a file begins: when it was modified, in local time, and its MiB."""
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(modified))
    return f"{date}  {size / _MIB:10.2f}M"


def and_more(rest: int, what: str = "more") -> str:
    """Return the end of a line that tells one of several: how many it does not tell, if any."""
    return f", and {rest} {what}" if rest > 0 else ""
