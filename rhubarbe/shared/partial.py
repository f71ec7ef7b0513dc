"""A file in the making: ours, locked, and for nobody else to read, until it has its name."""

import fcntl
import os
from typing import Self

from rhubarbe.shared.directory import HIDDEN, Directory, StrPath, path_of
from rhubarbe.shared.own import umask
from rhubarbe.shared.placing import forget, place
from rhubarbe.shared.trust import Distrust

_BY_DEFAULT = 0o644


class Busy(Distrust):
    """Another command is writing it."""


class Partial:
    """An open partial file; a context manager, which closes it. For a thread."""

    def __init__(self, directory: Directory, name: str, descriptor: int) -> None:
        """Take over an open directory, and a file in it that is open and locked."""
        self._directory = directory
        self._name = name
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: StrPath) -> Self:
        """Open the file of this name, made where there is none, with what is in it.

        It must be ours, and have no other name: raises Busy, Distrust, or another OSError.
        """
        directory, name = Directory.of(path, follows=False)
        descriptor = -1
        try:
            descriptor = directory.open_own(name, os.O_RDWR, HIDDEN)
            _lock(descriptor, directory, name)
            os.fchmod(descriptor, HIDDEN)
            return cls(directory, name, descriptor)
        except BaseException:  # interrupted too: nobody else closes it
            directory.close()
            if descriptor >= 0:
                os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def file(self) -> str:
        """A path by which we open that very file, as do children that inherit it."""
        return path_of(self.descriptor)

    @property
    def directory(self) -> Directory:
        """Where it is."""
        return self._directory

    def publish(self, name: str, mode: int | None = None, *, replaces: bool = False) -> None:
        """Give the file, which is whole, its name, and this mode, else what the umask leaves.

        Raises FileExistsError unless it `replaces` what has the name, or another OSError.
        """
        os.fchmod(self.descriptor, _BY_DEFAULT & ~umask() if mode is None else mode)
        former = self._directory, self._name
        try:
            place(self.descriptor, former, self._directory, name, replaces=replaces)
        except BaseException:  # interrupted too: what has no name yet is not to be read
            os.fchmod(self.descriptor, HIDDEN)
            raise
        self.forget()

    def withdraw(self, name: str) -> None:
        """Undo `publish`: the file is partial again. Raises OSError."""
        if self._directory.is_named(name, self.descriptor):
            os.fchmod(self.descriptor, HIDDEN)
            self._directory.rename(name, self._name)

    def forget(self) -> None:
        """Remove the partial name, unless something else has it; raises OSError."""
        forget(self.descriptor, self._directory, self._name)

    def close(self) -> None:
        """Close it, once; others may write it then."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            self._directory.close()
            os.close(descriptor)


def _lock(descriptor: int, directory: Directory, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy(f"{directory.where(name)}: another command is writing it") from error
    if not directory.is_named(name, descriptor):
        raise Distrust(f"{directory.where(name)}: was given another name meanwhile")
