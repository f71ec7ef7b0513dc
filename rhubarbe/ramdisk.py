"""What is said to the ramdisk's shell, and what its lines mean. Pure: text in, values out.

The shell is a root shell behind telnet that asks for no login, usually busybox on a terminal that
echoes. Whatever a user typed is quoted before it gets there. The lines of frisbee and imagezip are
those of the Emulab tools, which ours print too; the exit status is trusted, never a closing line.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

# The quotes keep a terminal's echo of the typed line from looking like the marker itself.
BEGIN_MARK = "RHUBARBE-BEGIN"
STATUS_MARK = "RHUBARBE-STATUS="
DISK_MARK = "RHUBARBE-DISK="
STAMP_MARK = "RHUBARBE-STAMP="
LONGEST_LINE = 500

STAMP_FILE = "/etc/rhubarbe-image"
LONGEST_STAMP = 400

# The shell has no such program, or may not run it.
NO_PROGRAM = frozenset({126, 127})
# A disk that is too small, an image or an option that the program on the node cannot take.
_FINAL = re.compile(
    r"No space left on device|Bad Magic Number|not an ndz image|obsolete cipher"
    r"|(unrecognized|invalid|unknown) option|option requires an argument"
)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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
    """Return what to type to run a command, learn its exit status, and end the session."""
    begin, status = _marker(BEGIN_MARK), _marker(STATUS_MARK)
    return f"echo {begin}; {command}; echo {status}$?; exit\n"


def _marker(mark: str) -> str:
    return mark.replace("-", "'-'", 1)


def plain(text: str, limit: int = LONGEST_LINE) -> str:
    """Return text on one line, without control characters, of at most `limit` characters."""
    visible = _CONTROL.sub("", " ".join(text.split()))
    return " ".join(visible.split())[:limit].rstrip()


def write_image(
    client: str, ip: str, group: str, port: int, disk: str, *, verify: bool = False
) -> str:
    """Return the command that receives an image onto the node's disk, and perhaps reads it back."""
    option = " --verify" if verify else ""
    return f"{client}{option} -i {ip} -m {group} -p {port} {shlex.quote(disk)}"


def read_image(imagezip: str, disk: str, netcat: str, ip: str, port: int) -> str:
    """Return the commands that say the disk's size and send its image to our address and port."""
    quoted = shlex.quote(disk)
    size = f"blockdev --getsize64 {quoted} 2>/dev/null || stat -L -c %s {quoted}"
    return (
        f"echo {_marker(DISK_MARK)}$({size}); set -o pipefail;"
        f" {imagezip} -o -z1 {quoted} - | {netcat} {ip} {port}"
    )


def stamp(partition: str, mount_point: str, line: str) -> str:
    """Return the commands that add a line to /etc/rhubarbe-image on an unmounted root partition.

    A ramdisk that has `mount` uses it, which replays the journal; one that has not needs debugfs.
    """
    device, mount, words = shlex.quote(partition), shlex.quote(mount_point), shlex.quote(line)
    say = f"printf '%s\\n' {words}"  # echo would interpret backslashes in some shells
    # What was mounted is unmounted whatever happens: imagezip reads this disk next.
    by_mount = (
        f"mount {device} {mount} && {{ {say} >> {mount}/etc/rhubarbe-image;"
        f" written=$?; umount {mount} && [ $written -eq 0 ]; }}"
    )
    by_debugfs = (
        f"debugfs -R 'dump /etc/rhubarbe-image stamp' {device} 2>/dev/null;"
        f" {say} >> stamp;"
        f" debugfs -w -R 'rm /etc/rhubarbe-image' {device} 2>/dev/null;"
        f" debugfs -w -R 'write stamp /etc/rhubarbe-image' {device} 2>/dev/null;"
        f" rm -f stamp;"
        f" debugfs -R 'cat /etc/rhubarbe-image' {device} 2>/dev/null | grep -qxF -e {words}"
    )
    return f"if command -v mount >/dev/null 2>&1; then {by_mount}; else {by_debugfs}; fi"


def read_stamp(disk: str, partition: str, mount_point: str) -> str:
    """Return the commands that tell the last stamp on a partition of `disk`, and change nothing.

    They fail where there is no filesystem that this ramdisk can read. The kernel is told of the
    partitions first: they may be those of what was on the disk before. Neither the journal of an
    ext filesystem (`noload`) nor that of others (`norecovery`) is replayed.
    """
    device, mount = shlex.quote(partition), shlex.quote(mount_point)
    tell = f"printf '%s\\n' {_marker(STAMP_MARK)}\"$("  # echo would interpret backslashes
    by_mount = (
        f"blockdev --rereadpt {shlex.quote(disk)} && {{"
        f" mount -o ro,noload {device} {mount} 2>/dev/null"
        f" || mount -o ro,norecovery {device} {mount} 2>/dev/null"
        f" || mount -o ro {device} {mount}; }} && {{"
        f' {tell}tail -n 1 {mount}{STAMP_FILE} 2>/dev/null)"; umount {mount}; }}'
    )
    by_debugfs = (
        f"debugfs -R 'stat /etc' {device} 2>/dev/null | grep -q Inode &&"
        f" {tell}debugfs -R 'cat {STAMP_FILE}' {device} 2>/dev/null | tail -n 1)\""
    )
    return f"if command -v mount >/dev/null 2>&1; then {by_mount}; else {by_debugfs}; fi"


def last_stamp(text: str) -> str:
    """Return the last line of a file of stamps, as a StampTranscript has it; perhaps empty."""
    line = text.removesuffix("\n").rpartition("\n")[2]
    return plain(line.partition("\r")[0], LONGEST_STAMP)


class Transcript:
    """What the node says in one session, cut into lines, with the exit status at the end.

    `last_line` is the last that the command said; the shell's prompt and echo are not its words.
    `refusal` is a line, if any, that says that it would fail the same way each time.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._begun = False
        self.last_line = ""
        self.refusal = ""

    def feed(self, text: str) -> Iterator[Output]:
        """Take a piece of the session's text; yield what it completes."""
        self._buffer += text.replace("\r", "\n")
        *lines, self._buffer = self._buffer.split("\n")
        if len(self._buffer) > LONGEST_LINE * 4:
            # A line without end is told in parts; what is kept may hold the beginning of a mark.
            lines.append(self._buffer[:-LONGEST_LINE])
            self._buffer = self._buffer[-LONGEST_LINE:]
        for line in lines:
            yield from self._line(plain(line, len(line)))
        yield from self.partial(self._buffer)

    def _line(self, line: str) -> Iterator[Output]:
        if not line:
            return
        if not self._begun:
            self._begun = line.endswith(BEGIN_MARK)
            yield Line(line[:LONGEST_LINE])
            return
        before, mark, status = line.partition(STATUS_MARK)
        if mark and status.isdecimal():
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


class FrisbeeTranscript(Transcript):
    """A session in which frisbee runs: its dots and counts become percents.

    The client prints one dot a chunk, and after 67 characters the seconds and the chunks that
    remain. Older ones print `Progress: 10% 000011 000528` instead.
    """

    _joined = re.compile(r"File is (\d+) chunks")
    _dots = re.compile(r"[.sz]{1,67}")
    _dots_and_rest = re.compile(r"[.sz]{67} *\d+ +(\d+)")
    _progress = re.compile(r"Progress: +(\d+)%")
    _verified = re.compile(r"Verified (\d+) bytes")

    def __init__(self) -> None:
        super().__init__()
        self.verified_bytes: int | None = None
        self._total = 0
        self._done = 0
        self._percent = 0.0

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
            yield from self._rise(float(match.group(1)))
        elif match := self._joined.search(line):
            self._total = int(match.group(1))
            yield Percent(0.0)
        elif match := self._verified.match(line):
            self.verified_bytes = int(match.group(1))
        yield from super().whole(line)

    def partial(self, line: str) -> Iterator[Output]:
        """Take dots as they come."""
        if self._dots.fullmatch(line):
            yield from self._advance(self._done + line.count("."))

    def _advance(self, chunks: int) -> Iterator[Output]:
        if self._total:
            yield from self._rise(100.0 * chunks / self._total)

    def _rise(self, percent: float) -> Iterator[Output]:
        # Only the exit status says that all is written: until then, never 100.
        percent = min(percent, 99.0)
        if percent > self._percent:
            self._percent = percent
            yield Percent(percent)


class ImagezipTranscript(Transcript):
    """A session in which imagezip runs: the disk's size, and the size of the image it has made."""

    _size = re.compile(r"Image size: (\d+) bytes")
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
        if mark and size.isdecimal() and not before:
            self.disk_bytes = int(size)
            return
        yield from super().whole(line)


class StampTranscript(Transcript):
    """A session that tells the last stamp on the disk; None as long as it has not."""

    def __init__(self) -> None:
        super().__init__()
        self.stamp: str | None = None

    def whole(self, line: str) -> Iterator[Output]:
        """Take a line: the stamp, or words."""
        before, mark, stamp = line.partition(STAMP_MARK)
        if mark and not before:
            self.stamp = plain(stamp, LONGEST_STAMP)
            return
        yield from super().whole(line)
