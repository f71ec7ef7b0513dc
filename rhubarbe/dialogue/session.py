"""One session with the ramdisk's shell: what is typed around a command, and how its words are read.

The exit status is trusted, never a closing line.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.text import LONGEST_LINE, sanitise

# The quotes keep a terminal's echo of the typed line from looking like the marker itself.
BEGIN_MARK = "RHUBARBE-BEGIN"
STATUS_MARK = "RHUBARBE-STATUS="
# Bytes of a typed line: busybox's line editor takes 1023, a terminal of Linux 4095.
LONGEST_TYPED = 900

HIDDEN = "(secret)"

# The shell has no such program, or may not run it.
NO_PROGRAM = frozenset({126, 127})
# A disk that is too small, an image or an option that the program on the node cannot take.
_FINAL = re.compile(
    r"No space left on device|no such disk|is no disk|is in use \(|Bad Magic Number"
    r"|not an ndz image|obsolete cipher"
    r"|(unrecognized|invalid|unknown) option|option requires an argument"
)
# A node may say any number, and one without end is none.
_STATUS = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line that the node wrote, without control characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Percent:
    """How much of the image the node says it has written, 0 to 100."""

    value: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The command on the node ended, with this exit status."""

    status: int


Output = Line | Percent | Ended


def script(command: str) -> str:
    """Return what to type to run a command, learn its exit status, and end the session.

    A shell loses what is beyond the longest line that can be typed, and then waits for ever for
    the end of it: what is longer is gathered in a variable first.
    """
    begin, status = marker(BEGIN_MARK), marker(STATUS_MARK)
    line = f"echo {begin}; {command}; echo {status}$?; exit"
    if len(line.encode(errors="replace")) <= LONGEST_TYPED:
        return f"{line}\n"
    # A character is typed with four bytes at most.
    step = LONGEST_TYPED // 5
    pieces = (line[at : at + step].replace("'", r"'\''") for at in range(0, len(line), step))
    typed = "".join(f"typed=$typed'{piece}'\n" for piece in pieces)
    return f'typed=\n{typed}eval "$typed"\n'


def require_ramdisk(disk: str) -> str:
    """Return a command that fails, with words, on a system that runs from a disk of its own.

    Its root is on a device, or a part of `disk` is mounted, where a path says which disk is meant.
    """
    part = f"|{shlex.quote(disk)}*" if disk else ""
    return (
        'cat /proc/mounts | while read -r device place rest; do case "$device $place" in'
        f" /dev/ram*|/dev/loop*) ;; /dev/*' /'{part})"
        ' echo "$device is mounted: this is no ramdisk"; exit 1;; esac; done'
    )


def marker(mark: str) -> str:
    """Return a mark as it is typed: what echoes the line must not seem to print the mark."""
    return mark.replace("-", "'-'", 1)


class Transcript:
    """What the node says in one session, cut into lines, with the exit status at the end.

    `last_line` is the last that the command said; the shell's prompt and echo are not its words.
    `refusal` is a line, if any, that says that it would fail the same way each time. A `secret` of
    what is typed is told to nobody: the echo, where a terminal may break it anywhere, is left out.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._begun = False
        self.last_line = ""
        self.refusal = ""
        self.secret = ""

    def feed(self, text: str) -> Iterator[Output]:
        """Take a piece of the session's text; yield what it completes."""
        self._buffer += text.replace("\r", "\n")
        *lines, self._buffer = self._buffer.split("\n")
        if len(self._buffer) > LONGEST_LINE * 4:
            # A line without end is told in parts; what is kept may hold the beginning of a mark.
            lines.append(self._buffer[:-LONGEST_LINE])
            self._buffer = self._buffer[-LONGEST_LINE:]
        for line in lines:
            yield from self._line(sanitise(line, len(line)))
        yield from self.partial(self._buffer)

    def _line(self, line: str) -> Iterator[Output]:
        if not line:
            return
        if not self._begun:
            self._begun = line.endswith(BEGIN_MARK)
            if not self.secret:
                yield Line(line[:LONGEST_LINE])
            return
        if self.secret:
            line = line.replace(self.secret, HIDDEN)
        before, mark, status = line.partition(STATUS_MARK)
        if mark and _STATUS.fullmatch(status):
            if before:
                yield from self.whole(before[:LONGEST_LINE])
            yield Ended(int(status))
        else:
            yield from self.whole(line[:LONGEST_LINE])

    def whole(self, line: str) -> Iterator[Output]:
        """Take a whole line."""
        self.last_line = line
        if not self.refusal and _FINAL.search(line):
            self.refusal = line
        yield Line(line)

    def partial(self, line: str) -> Iterator[Output]:
        """Take the beginning of a line that goes on."""
        yield from ()
