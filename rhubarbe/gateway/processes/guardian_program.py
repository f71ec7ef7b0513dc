"""The guardian as a program: cleans up after a command that ended without cleaning up itself.

It runs by itself (`python -I -S guardian_program.py`), in a session of its own, and imports next to
nothing, so that it starts in milliseconds. On standard input come records of three fields, each
ended by a zero byte: `mark VARIABLE=VALUE -`, `link PATH TARGET`, `unlink PATH -`,
`child PID START`, `childless PID -`, and `bye - -`. START is when the process started, by which it
is told from a later one of the same number. At the end of input without `bye`, links that still
point to TARGET are removed, and children ended; also those that it was not told of in time, by the
mark in their environment.
"""

import os
import signal
import time

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ASK_FOR = 0.4
FIELDS = 3
# Counted after the process's name, which may contain anything; proc(5) counts it as field 22.
START_FIELD = 19
PIECE = 65536


def start_of(pid: str) -> str:
    """Return when a process started, in ticks since boot; empty when it is gone."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return ""
    try:
        fields = os.read(descriptor, PIECE).decode("latin-1").rpartition(")")[2].split()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return "" if fields[0] == "Z" else fields[START_FIELD]


def environment_of(pid: str) -> bytes:
    """Return the environment that a process started with; empty where we may not know."""
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY)
    except OSError:
        return b""
    content = b""
    try:
        while piece := os.read(descriptor, PIECE):
            content += piece
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return content


class Ward:
    """What would have to be cleaned up."""

    def __init__(self) -> None:
        self._links: dict[str, str] = {}
        self._children: dict[str, str] = {}
        self._mark = ""
        self.is_over = False

    def learn(self, kind: str, name: str, detail: str) -> None:
        """Take one record."""
        if kind == "link":
            self._links[name] = detail
        elif kind == "unlink":
            self._links.pop(name, None)
        elif kind == "child":
            self._children[name] = detail
        elif kind == "childless":
            self._children.pop(name, None)
        elif kind == "mark":
            self._mark = name
        elif kind == "bye":
            self.is_over = True

    def clean_up(self) -> None:
        """Remove the links, which are what traps a node, and end the children.

        Each in a process of its own: the links may be on a disk that does not answer.
        """
        try:
            is_for_links = os.fork() == 0
        except OSError:
            self._remove_links()
        else:
            if is_for_links:
                self._remove_links()
                os._exit(0)
        self._find_marked()
        self._end_children(signal.SIGTERM)
        limit = time.monotonic() + ASK_FOR
        while self._alive() and time.monotonic() < limit:
            time.sleep(0.02)
        self._end_children(signal.SIGKILL)

    def _remove_links(self) -> None:
        for path, target in self._links.items():
            try:
                if os.readlink(path) == target:
                    os.unlink(path)
            except OSError:  # gone already, or not ours to remove
                continue

    def _find_marked(self) -> None:
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            if self._mark and self._mark.encode() in environment_of(pid).split(b"\0"):
                self._children[pid] = start_of(pid)

    def _alive(self) -> list[int]:
        return [int(pid) for pid, start in self._children.items() if start_of(pid) == start]

    def _end_children(self, number: int) -> None:
        for pid in self._alive():
            try:
                os.kill(pid, number)
            except OSError:  # it ended meanwhile
                continue


def main() -> None:
    """Read records until the end of input, then clean up unless that is not needed."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    ward = Ward()
    rest = b""
    while piece := os.read(0, PIECE):
        *fields, rest = (rest + piece).split(b"\0")
        whole = len(fields) // FIELDS * FIELDS
        for place in range(0, whole, FIELDS):
            ward.learn(*map(os.fsdecode, fields[place : place + FIELDS]))
        rest = b"".join(field + b"\0" for field in fields[whole:]) + rest
    if not ward.is_over:
        ward.clean_up()


if __name__ == "__main__":
    main()
