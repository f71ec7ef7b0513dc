"""How images go to the node's disk and from it: frisbee and imagezip, ours or Emulab's."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.dialogue.session import Output, Percent, Transcript, marker

MOST_STRANGERS = 4
DISK_MARK = "RHUBARBE-DISK="
_SIZE = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Proof:
    """Where a manifest of the image is, `HOST:PORT`, and its digest: by it ours prove all."""

    place: str
    digest: str


def proving(proof: Proof | None) -> str:
    """Return the options of frisbee and imageunzip by which they prove what they write."""
    return f" --manifest {proof.place} --manifest-digest {proof.digest}" if proof else ""


def write_image(  # noqa: PLR0913 - what is written, whence, by what, and what proves it
    client: str,
    ip: str,
    group: str,
    port: int,
    disk: str,
    *,
    server: str,
    proof: Proof | None = None,
    verify: bool = False,
) -> str:
    """Return the command that receives an image onto the node's disk, and perhaps reads it back.

    It is taken only from the server's address.
    """
    option = " --verify" if verify else ""
    place = f"-i {ip} -m {group} -p {port} -S {server}"
    return f"{client}{option}{proving(proof)} {place} {shlex.quote(disk)}"


def read_image(imagezip: str, disk: str, netcat: str, ip: str, port: int, secret: str) -> str:
    """Return the commands that say the disk's size and send its image to our address and port.

    The secret goes first. A shell's own `printf` is no process, whose arguments others would see.
    """
    quoted = shlex.quote(disk)
    size = f"blockdev --getsize64 {quoted} 2>/dev/null || stat -L -c %s {quoted}"
    return (
        f"echo {marker(DISK_MARK)}$({size}); set -o pipefail;"
        f" {{ printf %s {secret} && {imagezip} -o -z1 {quoted} -; }} | {netcat} {ip} {port}"
    )


class ImageTranscript(Transcript):
    """A session in which an image is written: percents, and what was read back, if anything was.

    `strangers` are the first lines that tell of what others sent than our server, or in its name.
    """

    _verified = re.compile(r"Verified ([0-9]{1,18}) bytes")
    _strange = re.compile(
        r"Ignored what came from |Rejected [0-9]{1,9} chunks? |Blocks are taken from \S+ now,"
    )

    def __init__(self) -> None:
        super().__init__()
        self.verified_bytes: int | None = None
        self.strangers: list[str] = []
        self._percent = 0.0

    def whole(self, line: str) -> Iterator[Output]:
        """Take a whole line of words."""
        if match := self._verified.match(line):
            self.verified_bytes = int(match.group(1))
        if self._strange.match(line) and len(self.strangers) < MOST_STRANGERS:
            self.strangers.append(line)
        yield from super().whole(line)

    def rise(self, percent: float) -> Iterator[Output]:
        """Tell how far the image is, if it is farther than was told."""
        # Only the exit status says that all is written: until then, never 100.
        percent = min(percent, 99.0)
        if percent > self._percent:
            self._percent = percent
            yield Percent(percent)


class FrisbeeTranscript(ImageTranscript):
    """A session in which frisbee runs: its dots and counts become percents.

    The client prints one dot a chunk, and after 67 characters the seconds and the chunks that
    remain. Older ones print `Progress: 10% 000011 000528` instead.
    """

    _joined = re.compile(r"File is ([0-9]{1,9}) chunks")
    _dots = re.compile(r"[.sz]{1,67}")
    _dots_and_rest = re.compile(r"[.sz]{67} *[0-9]+ +([0-9]{1,9})")
    _progress = re.compile(r"Progress: +([0-9]{1,3})%")

    def __init__(self) -> None:
        super().__init__()
        self._total = 0
        self._done = 0

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line: a count of chunks, or words."""
        if match := self._dots_and_rest.fullmatch(line):
            self._done = self._total - int(match.group(1))
            yield from self._advance(self._done)
            return
        if self._dots.fullmatch(line):
            self._done += line.count(".")
            yield from self._advance(self._done)
            return
        if match := self._progress.match(line):
            yield from self.rise(float(match.group(1)))
        elif match := self._joined.search(line):
            self._total = int(match.group(1))
            yield Percent(0.0)
        yield from super().whole(line)

    def partial(self, line: str) -> Iterator[Output]:
        """Take dots as they come."""
        if self._dots.fullmatch(line):
            yield from self._advance(self._done + line.count("."))

    def _advance(self, chunks: int) -> Iterator[Output]:
        if self._total:
            yield from self.rise(100.0 * chunks / self._total)


class ImagezipTranscript(Transcript):
    """A session in which imagezip runs: the disk's size, and the size of the image it has made."""

    _size = re.compile(r"Image size: ([0-9]{1,18}) bytes")
    _dots = re.compile(r"\.{1,61}( +\d+ +\d+)?")

    def __init__(self) -> None:
        super().__init__()
        self.disk_bytes: int | None = None
        self.image_bytes: int | None = None

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line; dots say nothing that the collector does not see."""
        if self._dots.fullmatch(line):
            return
        if match := self._size.search(line):
            self.image_bytes = int(match.group(1))
        before, mark, size = line.partition(DISK_MARK)
        if mark and _SIZE.fullmatch(size) and not before:
            self.disk_bytes = int(size)
            return
        yield from super().whole(line)
