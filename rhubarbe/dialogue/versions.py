"""What a program on the node says of itself: whether it is one of ours, and what it understands."""

import re
import shlex
from collections.abc import Iterator

from rhubarbe.dialogue.session import Output, Transcript

OURS = "rhubarbe-"
LAYOUT = 1
_MANIFEST = re.compile(r"manifest (\d{1,6}): *([a-z0-9 ]*)")


def ask_version(program: str) -> str:
    """Return the command that has a program, whatever its options, tell its version.

    It ends well also where the program does not know the question, or is not there.
    """
    return f"{shlex.quote(program.split()[0])} --version </dev/null; true"


class VersionTranscript(Transcript):
    """A session in which a program tells its version.

    `manifests` are the kinds of digests that it takes, the best first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_ours = False
        self.manifests: tuple[str, ...] = ()
        self._layouts: set[int] = set()

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line."""
        self.is_ours = self.is_ours or line.startswith(OURS)
        if match := _MANIFEST.match(line):
            self._layouts.add(int(match[1]))
            if int(match[1]) == LAYOUT:
                self.manifests = tuple(match[2].split())
        yield from super().whole(line)

    @property
    def lack(self) -> str:
        """Why it cannot prove what it writes; empty where it can."""
        if not self.is_ours:
            return "is not ours"
        if self.manifests:
            return ""
        if self._layouts and min(self._layouts) > LAYOUT:
            return "is newer than the gateway's rhubarbe, which is too old for its manifests"
        return "is too old: build the ramdisk again"
