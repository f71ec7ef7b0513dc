"""The files of a system that is being put together, in memory: who owns them is decided here.

Nothing is written with the builder's own user, times or umask, so no root is needed to make files
that are root's, and two builds from the same parts are equal.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.ramdisk_builder.errors import TreeError


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its type and permissions as in st_mode, and what is in it.

    `content` is bytes, a file to read them from, or the target of a symbolic link. `device` is the
    major and minor number of a device, `owner` the numbers of a user and a group.
    """

    mode: int
    content: bytes | Path = b""
    device: tuple[int, int] = (0, 0)
    owner: tuple[int, int] = (0, 0)

    def read(self) -> bytes:
        """Return the content; raises OSError."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


class Tree:
    """Files by their path, which has no leading slash; directories come by themselves."""

    def __init__(self) -> None:
        self._entries: dict[str, FileEntry] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def __getitem__(self, path: str) -> FileEntry:
        return self._entries[path]

    def __iter__(self) -> Iterator[tuple[str, FileEntry]]:
        """Yield paths and entries, sorted: a directory before what is in it."""
        yield from sorted(self._entries.items())

    def add_file(self, path: str, content: bytes | str | Path, mode: int = 0o644) -> None:
        """Add a file, in place of one that is there."""
        data = content.encode() if isinstance(content, str) else content
        self.add(path, FileEntry(stat.S_IFREG | mode, data))

    def add_program(self, path: str, content: bytes | str | Path) -> None:
        """Add a file that anybody may run."""
        self.add_file(path, content, 0o755)

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.add(path, FileEntry(stat.S_IFLNK | 0o777, target.encode()))

    def add_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device."""
        self.add(path, FileEntry(stat.S_IFCHR | mode, device=(major, minor)))

    def add_directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory, or give one that is there these permissions."""
        entry = FileEntry(stat.S_IFDIR | mode)
        if path in self._entries and stat.S_ISDIR(self._entries[path].mode):
            self._entries[path] = entry
        else:
            self.add(path, entry)

    def resolve(self, path: str) -> str:
        """Return the path that is meant when links to directories in it are followed."""
        done = ""
        for hops, part in enumerate(path.split("/")):
            done = f"{done}/{part}" if hops else part
            entry = self._entries.get(done)
            if entry is not None and stat.S_ISLNK(entry.mode) and done != path:
                target = entry.read().decode()
                parent = done.rpartition("/")[0]
                done = target.lstrip("/") if target.startswith("/") else f"{parent}/{target}"
                done = done.lstrip("/")
        return done

    def add(self, path: str, entry: FileEntry) -> None:
        """Add any file, in place of one that is there; raises TreeError."""
        path = self.resolve(path)
        if not path or path.startswith("/") or ".." in path.split("/"):
            raise TreeError(f"{path!r} is no path of a system's file")
        parent = path.rpartition("/")[0]
        if parent and parent not in self._entries:
            self.add_directory(parent)
        elif parent and not stat.S_ISDIR(self._entries[parent].mode):
            raise TreeError(f"{path}: {parent} is a file, not a directory")
        self._entries[path] = entry
