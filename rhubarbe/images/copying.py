"""An image on its way into a directory: under its partial name, locked, until it is whole there."""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.errors import ImageError, why
from rhubarbe.images.checking import check_image
from rhubarbe.images.naming import PARTIAL, SUFFIX
from rhubarbe.shared.directory import Directory, require_file
from rhubarbe.shared.own import open_own

if TYPE_CHECKING:
    import threading

    from rhubarbe.ndz.check import ImageSummary
    from rhubarbe.ndz.manifest import ManifestMaker

STEP = 8 << 20
READABLE = 0o644
HIDDEN = 0o600


@contextlib.contextmanager
def partial_file(partial: Path) -> Iterator[int]:
    """Open what is or will be a partial image, and keep others away from it; raises ImageError.

    It must be ours. What it holds stays as it is, for nobody else to read until it is whole.
    """
    try:
        descriptor = open_own(partial, os.O_RDWR, HIDDEN)
    except OSError as error:
        raise ImageError(f"{partial}: cannot be written: {why(error)}") from error
    try:
        _lock(descriptor, partial)
        os.fchmod(descriptor, HIDDEN)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, partial: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ImageError(f"{partial}: another command is writing it") from error
    try:
        require_file(descriptor, partial, os.getuid())
    except OSError as error:
        raise ImageError(why(error)) from error


@contextlib.contextmanager
def copied(source: int, partial: Path) -> Iterator[int]:
    """Copy an open image to a partial name, and hold that open, for the length of the context.

    The partial name is gone in the end, and with it what is cut short or no image. Nobody else can
    read the copy before it is published. Raises ImageError.
    """
    with partial_file(partial) as descriptor:
        try:
            _copy(source, descriptor)
            yield descriptor
        except OSError as error:
            raise ImageError(f"{partial}: the copy cannot be made: {why(error)}") from error
        finally:  # a signal too leaves no part
            partial.unlink(missing_ok=True)


def _copy(source: int, target: int) -> None:
    os.ftruncate(target, 0)
    place = 0
    while count := os.sendfile(target, source, place, STEP):
        place += count
    status = os.fstat(source)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


class OpenImage:
    """An image that is opened once, at its first use: what is checked is what is used then."""

    def __init__(self, path: Path) -> None:
        """Speak of it as `path`, which must be no link once it is opened."""
        self.path = path
        self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """The open file; raises ImageError."""
        if self._descriptor < 0:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            try:
                self._descriptor = os.open(self.path, flags)
            except OSError as error:
                raise ImageError(f"{self.path}: cannot be opened: {why(error)}") from error
            if not stat.S_ISREG(self.status.st_mode):
                self.close()
                raise ImageError(f"{self.path}: is no file")
        return self._descriptor

    @property
    def status(self) -> os.stat_result:
        """What the kernel says of the open file; raises ImageError."""
        return os.fstat(self.descriptor)

    @property
    def file(self) -> str:
        """A path by which we open that very file, as do children that inherit it."""
        return path_of(self.descriptor)

    def check(
        self, stop: "threading.Event | None" = None, manifest: "ManifestMaker | None" = None
    ) -> "ImageSummary":
        """Read and check the whole image, and make its manifest on the way; raises ImageError."""
        return check_image(self.path, stop, self.file, manifest)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def forget(self) -> None:
        """Remove its name, unless something else has that name meanwhile; raises OSError."""
        if _has_name(self.path, self.descriptor):
            self.path.unlink()


def _has_name(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def put(descriptor: int, former: Path, target: Path, *, replaces: bool) -> None:
    """Give an open image, which is whole, its place for all to read; raises OSError, ImageError.

    It is named by its descriptor: whatever has its former name meanwhile, this is what is named.
    Where the file system has no hard links, a rename after a look has to do.
    """
    os.fchmod(descriptor, READABLE)  # the repository is everybody's, whatever our umask
    os.fsync(descriptor)
    with Directory.open(target.parent) as directory:
        draft = f".{secrets.token_hex(8)}{SUFFIX}{PARTIAL}"
        try:
            _link(directory, path_of(descriptor), draft)
        except OSError:
            if not _has_name(former, descriptor):
                raise
            draft = str(former.absolute())
        try:
            _name(directory, draft, target, replaces=replaces)
        finally:
            if draft != str(former.absolute()):
                directory.remove(draft)
        os.fsync(directory.descriptor)


def _link(directory: Directory, old: str, new: str) -> None:
    """Make a hard link, of what the old name leads to if it is absolute."""
    # Python follows a link to be linked only where a descriptor is given.
    os.link(old, new, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)


def _name(directory: Directory, draft: str, target: Path, *, replaces: bool) -> None:
    try:
        if not replaces:
            _link(directory, draft, target.name)
            return
    except FileExistsError as error:
        raise ImageError(f"{target}: exists already") from error
    except OSError as error:
        if os.path.lexists(target):
            raise ImageError(f"{target}: exists already") from error
    os.replace(draft, target.name, src_dir_fd=directory.descriptor, dst_dir_fd=directory.descriptor)


def path_of(descriptor: int) -> str:
    """Return a path by which we open that very file, as do children that inherit it."""
    return f"/proc/self/fd/{descriptor}"
