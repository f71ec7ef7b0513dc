"""How other engines than frisbee bring an image to the node: into imageunzip, which writes it.

udpcast's receiver feeds it through a pipe; aria2c puts the whole image into a directory first, in
memory as a rule, from where imageunzip takes it.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.dialogue.images import ImageTranscript, Proof, proving
from rhubarbe.dialogue.session import Line, Output
from rhubarbe.text import sanitise

# What the image is called on the node, and in the torrent.
IMAGE_NAME = "image.ndz"
# Memory for what is not written yet; imageunzip takes some 15 MiB more, as aria2c does before it.
UNZIP_MIB = 32
SPARE_KIB = 64 << 10
# The last line of udp-receiver, also where imageunzip has failed: it never says why.
RECEIVED = "Transfer complete."


@dataclass(frozen=True, slots=True)
class Unzip:
    """How imageunzip writes an image onto a disk: which program, and what proves the image."""

    program: str
    disk: str
    proof: Proof | None = None
    verify: bool = False

    def of(self, source: str) -> str:
        """Return the command that writes what is in a file, or `-`."""
        options = (" --verify" if self.verify else "") + proving(self.proof)
        return f"{self.program} -o -W {UNZIP_MIB}{options} {source} {shlex.quote(self.disk)}"


def receive_by_udpcast(receiver: str, write: Unzip) -> str:
    """Return the command that writes what udp-receiver gets; `receiver` has all its options."""
    unzip = write.of("-")
    return f"set -o pipefail; {receiver} | {unzip}"


def fetch_by_aria2(client: str, url: str, directory: str, size: int, write: Unzip) -> str:
    """Return the commands that fetch a torrent's image of `size` bytes, write it, and remove it.

    `client` has all its options but directory and URL. Where the directory is in memory, there must
    be enough of it: else the kernel would end any process.
    """
    where, file = shlex.quote(directory), shlex.quote(f"{directory}/{IMAGE_NAME}")
    kib = -(-size // 1024) + SPARE_KIB
    room = (
        f"case $(stat -f -c %T {where}) in tmpfs|ramfs)"
        " set -- $(grep MemAvailable: /proc/meminfo);"
        f' [ "$2" -ge {kib} ] || {{ echo "No space left on device: the image needs {kib} KiB of'
        ' memory, $2 are available"; false; };; esac'
    )
    fetch = f"{client} --dir={where} {shlex.quote(url)}"
    unzip = write.of(file)
    return f"rm -f {file}*; {room} && {fetch} && {unzip}; set -- $?; rm -f {file}*; (exit $1)"


class UnzipTranscript(ImageTranscript):
    """A session in which imageunzip writes an image of so many chunks: each dot is one.

    After 67 of them come the seconds, and the chunks that remain, which imageunzip does not know
    where it reads from a pipe. Another program may write on the same line.
    """

    _dots = re.compile(r"(\.+) *(\d+ +\d+)?")
    _counts = re.compile(r"\d+ +\d+")
    share = 100.0

    def __init__(self, chunks: int) -> None:
        super().__init__()
        self._chunks = max(chunks, 1)
        self._done = 0

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line: dots, words, or words after dots."""
        match = self._dots.match(line)
        if match is None:
            if not self._counts.fullmatch(line):
                yield from self._words(line)
            return
        self._done += len(match.group(1))
        yield from self._advance(self._done)
        if rest := sanitise(line[match.end() :]):
            yield from self._words(rest)

    def _words(self, line: str) -> Iterator[Output]:
        if line == RECEIVED:
            yield Line(line)
        else:
            yield from super().whole(line)

    def partial(self, line: str) -> Iterator[Output]:
        """Take dots as they come."""
        if match := self._dots.match(line):
            yield from self._advance(self._done + len(match.group(1)))

    def _advance(self, chunks: int) -> Iterator[Output]:
        yield from self.rise(100.0 - self.share + self.share * chunks / self._chunks)


class AriaTranscript(UnzipTranscript):
    """A session in which aria2c fetches an image, half of the way, and imageunzip writes it.

    aria2c tells each second `[#2089b0 400.0KiB/33.2MiB(1%) CN:1 DL:115.7KiB ETA:4m51s]`.
    """

    _readout = re.compile(r"\[#[0-9a-f]+ [^ /]+/[^ (]+\(([0-9]{1,3})%\).*\]?")
    _other_readout = re.compile(r"\[#[0-9a-f]+ .*")
    # Lines that it always ends with, which do not say what went wrong.
    _farewell = re.compile(
        r"Download Results|gid +\||[=+]+$|[0-9a-f]{6}\|(OK|ERR)|Status Legend|\([A-Z]+\):"
        r"|aria2 will resume|If there are any errors"
    )
    share = 50.0

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line: a readout, or what imageunzip says."""
        if match := self._readout.match(line):
            yield from self.rise((100.0 - self.share) * int(match.group(1)) / 100.0)
        elif not self._other_readout.match(line):
            before = self.last_line
            yield from super().whole(line)
            if self._farewell.match(line):
                self.last_line = before
