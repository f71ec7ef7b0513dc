"""Text that others wrote, made fit for a line of ours: names of files, words of nodes and users."""

import re

LIMIT = 1000
"""The longest line that a display ever gets, in characters."""

LONGEST_LINE = 500
"""The longest line that is taken from a node, in characters."""

_KIB = 1024

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


def sanitise(text: str, limit: int = LIMIT) -> str:
    r"""Make one printable line of `text`, of at most `limit` characters.

    Escape sequences and all other control and formatting characters go; blanks of any kind,
    line ends included, become one space. A byte that was no text is written as `\xe9`.
    """
    text = " ".join(_ESCAPES.sub("", text[: 8 * limit]).split()).translate(BYTES)
    if not text.isprintable():
        text = " ".join("".join(filter(str.isprintable, text)).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def size_of(count: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.4g} {unit}"
        count /= _KIB
    return f"{count:.4g} TiB"
