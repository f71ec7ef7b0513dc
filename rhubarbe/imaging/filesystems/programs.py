"""Programs that are asked about a filesystem, in words of why it cannot be known."""

import re
from pathlib import Path

from rhubarbe.annexe import programs
from rhubarbe.disk.errors import FilesystemError
from rhubarbe.text import sanitise

_SAID_MAX = 64 << 20
"""Bytes that a program may write: two million ranges."""

_LIMIT_S = 900
"""The tables of a large and slow disk take minutes to read."""

_REASON_MAX = 120
_EMPTY_WORDS = re.compile("Partclone fail|Error exit")


def find(program: str) -> str:
    """Return the path of an installed program; raise FilesystemError."""
    found = programs.locate(program)
    if not found:
        raise FilesystemError(f"{program} is not installed")
    return found


def run(command: list[str]) -> bytes:
    """Return what a program says; raise FilesystemError where it fails, or does not end."""
    name = Path(command[0]).name
    try:
        ended = programs.run(
            command, limit_s=_LIMIT_S, most_said=_SAID_MAX, environment={"LC_ALL": "C"}
        )
    except programs.TookTooLong:
        raise FilesystemError(f"{name} has not ended within {_LIMIT_S} s") from None
    except programs.SaidTooMuch as error:
        raise FilesystemError(f"{name} {error}") from error
    except OSError as error:
        raise FilesystemError(f"{name} cannot be run ({error.strerror})") from error
    if ended.status < 0:
        raise FilesystemError(f"{name} died of signal {-ended.status}")
    if ended.status:
        raise FilesystemError(f"{name} refused it ({_reason(ended.errors or ended.output)})")
    return ended.output


def _reason(words: bytes) -> str:
    """Return the last line that says something, as what can be shown."""
    text = words.decode("ascii", "replace").replace("\r", "\n")
    lines = map(sanitise, text.split("\n"))
    said = [line for line in lines if line and not _EMPTY_WORDS.match(line)]
    return (said or ["no reason given"])[-1][-_REASON_MAX:]
