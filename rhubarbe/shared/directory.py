"""A directory in which others may write, opened once; all in it is reached through that."""

import contextlib
import os
import pwd
import secrets
import stat
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

READABLE = 0o644
# More names than this in one directory were made by somebody to hold others up.
MOST_NAMES = 50_000
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe, which nobody may ever write into, must not be waited for.
_READ = _LOOK | os.O_NONBLOCK | os.O_NOCTTY
# What a draft's name has more than that of its file, in bytes.
_ROOM = 18


class Distrust(OSError):
    """Something is not what it must be for us to touch it; the words say how to repair it."""


def name_of(uid: int) -> str:
    """Return what the user of this number is called."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


class Directory:
    """An open directory; a context manager, which closes it."""

    def __init__(self, descriptor: int, path: Path) -> None:
        """Take over an open directory, which messages call `path`."""
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def open(cls, path: str | Path, within: "Directory | None" = None) -> Self:
        """Open a directory, which must be no link; raises OSError."""
        if within is None:
            return cls(os.open(path, _LOOK | os.O_DIRECTORY), Path(path))
        descriptor = os.open(path, _LOOK | os.O_DIRECTORY, dir_fd=within.descriptor)
        return cls(descriptor, within.path / path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)

    @property
    def status(self) -> os.stat_result:
        """What the kernel says of it."""
        return os.fstat(self.descriptor)

    def require_trust(self) -> None:
        """Raise Distrust where somebody but root and us could remove or rename what is in it."""
        status = self.status
        if status.st_uid not in {0, os.getuid()}:
            raise Distrust(
                f"{self.path}: belongs to {name_of(status.st_uid)}, who could remove anything"
                f" there; as root: chown root {self.path}"
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
            raise Distrust(
                f"{self.path}: anybody could remove anything there; as root: chmod +t {self.path}"
            )

    def names(self) -> list[str]:
        """Return what is in it, sorted; raises Distrust where that is far too much, or OSError."""
        with os.scandir(self.descriptor) as entries:
            found = sorted(entry.name for entry in islice(entries, MOST_NAMES + 1))
        if len(found) > MOST_NAMES:
            raise Distrust(f"{self.path}: has more than {MOST_NAMES} names in it; remove some")
        return found

    def read(self, name: str, most: int, owner: int) -> bytes:
        """Return a file of its `owner`, of at most so many bytes.

        Raises FileNotFoundError, Distrust for what is no such file, or another OSError.
        """
        descriptor = os.open(name, _READ, dir_fd=self.descriptor)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - of a descriptor
            require_file(descriptor, self.path / name, owner)
            content = stream.read(most + 1)
        if len(content) > most:
            raise Distrust(f"{self.path / name}: is larger than {most} bytes")
        return content

    def replace(self, name: str, content: bytes, owner: int) -> None:
        """Write a file for all to read; it has its name only when it is whole on the disk.

        It becomes its `owner`'s, whom only root may choose. Raises OSError.
        """
        short = os.fsdecode(os.fsencode(name)[: 255 - _ROOM])
        draft = f".{short}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, 0o600, dir_fd=self.descriptor)
        try:
            with open(descriptor, "wb") as stream:  # noqa: PTH123 - of a descriptor
                if owner != os.getuid():
                    os.fchown(descriptor, owner, -1)
                os.fchmod(descriptor, READABLE)  # whatever the umask
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            self._rename(draft, name)
        except BaseException:  # a signal too leaves no draft
            self.remove(draft)
            raise

    def _rename(self, draft: str, name: str) -> None:
        os.replace(draft, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a name, if that may be: who cannot leaves it."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.descriptor)


def require_file(descriptor: int, path: Path, owner: int) -> os.stat_result:
    """Raise Distrust unless this is a regular file of its owner's, which has no second name."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Distrust(f"{path}: is no file")
    if status.st_uid != owner:
        raise Distrust(f"{path}: belongs to {name_of(status.st_uid)}, and not to {name_of(owner)}")
    if status.st_nlink > 1:
        raise Distrust(f"{path}: also has another name; remove this one")
    return status
