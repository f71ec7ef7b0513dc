"""A directory in which others may write, opened once; all in it is reached through that."""

import contextlib
import errno
import os
import stat
from typing import Self

from rhubarbe.shared.trust import Distrust, require_file, require_kept
from rhubarbe.shared.walking import Walk
from rhubarbe.writers import may_others_write

# A path, as text or not.
StrPath = str | os.PathLike[str]
READABLE = 0o644
HIDDEN = 0o600
# More names than this in one directory were made by somebody to hold others up.
MOST_NAMES = 50_000
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK, since opening a pipe would wait for somebody who writes into it.
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def fresh_name(kind: str) -> str:
    """Return a name that nobody can have guessed, for what is not yet whole."""
    return f".{os.urandom(8).hex()}.{kind}"


def path_of(descriptor: int) -> str:
    """Return a path by which we open that very file, as do children that inherit it."""
    return f"/proc/self/fd/{descriptor}"


def is_directory(path: StrPath) -> bool:
    """Tell whether there is such a directory, which can be reached without a stranger's link."""
    return are_same(path, path)


def are_same(one: StrPath, other: StrPath) -> bool:
    """Tell whether two paths lead to the same directory."""
    try:
        first = Directory.open(one, follows=True)
        with first, Directory.open(other, follows=True) as second:
            return os.path.samestat(first.status, second.status)
    except OSError:
        return False


def may_write(path: StrPath) -> bool:
    """Tell whether we may make something in a directory."""
    try:
        with Directory.open(path, follows=True) as directory:
            return directory.is_writable
    except OSError:
        return False


class Directory:
    """An open directory; a context manager, which closes it."""

    def __init__(self, descriptor: int, path: str) -> None:
        """Take over an open directory, which messages call `path`."""
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def open(cls, path: StrPath, within: Self | None = None, *, follows: bool = False) -> Self:
        """Open a directory, which must be no link unless that `follows`; raises OSError.

        What leads to it is gone through as `Walk` does.
        """
        name = os.fspath(path)
        if within is not None:
            descriptor = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=within.descriptor)
            return cls(descriptor, within.where(name))
        parent, name = cls.of(name, follows=follows)
        with parent:
            try:
                descriptor = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=parent.descriptor)
            except NotADirectoryError:
                parent.require_no_link(name)
                raise
            return cls(descriptor, parent.path if name == "." else parent.where(name))

    @classmethod
    def of(cls, path: StrPath, *, follows: bool = True, aliases: bool = False) -> tuple[Self, str]:
        """Open the directory that a path ends in; return it with the name there.

        See `Walk.to_the_end`. Raises OSError.
        """
        walk = Walk(os.fspath(path))
        try:
            name = walk.to_the_end(follows=follows, aliases=aliases)
            with contextlib.suppress(PermissionError):  # one that may be entered, but not read
                walk.enter_to_read()
        except BaseException:  # interrupted too: nobody else closes it
            walk.close()
            raise
        return cls(walk.descriptor, walk.text), name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    def where(self, name: str) -> str:
        """Return the path of a name in it, for messages."""
        return os.path.join(self.path, name)

    @property
    def status(self) -> os.stat_result:
        """What the kernel says of it."""
        return os.fstat(self.descriptor)

    @property
    def is_writable(self) -> bool:
        """Whether we may make something in it."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self.descriptor)

    def lets_remove(self, status: os.stat_result) -> bool:
        """Tell whether its sticky bit, if it has one, lets us remove what has this status."""
        own = self.status
        return not own.st_mode & stat.S_ISVTX or os.geteuid() in {0, own.st_uid, status.st_uid}

    def require_trust(self) -> None:
        """Raise Distrust where somebody but root and us could remove or rename what is in it."""
        require_kept(self.descriptor, self.path)

    def require_no_link(self, name: str) -> None:
        """Raise Distrust where a link has this name."""
        try:
            target = os.readlink(name, dir_fd=self.descriptor)
        except OSError:
            return
        leads = os.path.normpath(self.where(target))
        raise Distrust(f"{self.where(name)}: is a link; configure what it leads to: {leads}")

    def names(self, ending: str = "") -> list[str]:
        """Return the names in it that end so, sorted; raises Distrust for too many, or OSError."""
        found: list[str] = []
        with os.scandir(self.descriptor) as entries:
            for entry in entries:
                if entry.name.endswith(ending):
                    found.append(entry.name)
                if len(found) > MOST_NAMES:
                    raise Distrust(
                        f"{self.path}: has more than {MOST_NAMES} names in it; remove some"
                    )
        return sorted(found)

    def may_others_write(self, name: str, owner: int) -> bool:
        """Tell whether anybody but root, us and its `owner` could write it; raises OSError."""
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        try:
            return may_others_write(descriptor, [owner])
        finally:
            os.close(descriptor)

    def status_of(self, name: str) -> os.stat_result:
        """Return what the kernel says of a name, not of what it may lead to; raises OSError."""
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Tell whether there is anything of this name, be it a link to nothing."""
        try:
            self.status_of(name)
        except OSError as error:
            return error.errno not in {errno.ENOENT, errno.ENOTDIR}
        return True

    def is_named(self, name: str, descriptor: int) -> bool:
        """Tell whether an open file has this name, and nothing else."""
        try:
            return os.path.samestat(self.status_of(name), os.fstat(descriptor))
        except OSError:
            return False

    def open_file(
        self,
        name: str,
        flags: int = os.O_RDONLY,
        owner: int | None = None,
        *,
        many_names: bool = False,
    ) -> int:
        """Open a regular file of its `owner`, else of anybody, which has no second name.

        It may have some, where that is said, if nobody else can have made them. Raises
        FileNotFoundError, Distrust, or another OSError.
        """
        try:
            descriptor = os.open(name, flags | SAFELY, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Distrust(f"{self.where(name)}: is a link") from error
            raise
        try:
            status = os.fstat(descriptor)
            place = self.descriptor if many_names else None
            require_file(status, self.where(name), owner, place)
        except BaseException:  # interrupted too: nobody else closes it
            os.close(descriptor)
            raise
        return descriptor

    def open_own(self, name: str, flags: int, mode: int) -> int:
        """Open a file that is ours, made where there is none; raises OSError."""
        for _ in range(2):
            try:
                return self.open_file(name, flags, os.getuid())
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    return self.make_file(name, flags, mode)
        raise Distrust(f"{self.where(name)}: somebody makes and removes it")

    def make_file(self, name: str, flags: int = os.O_WRONLY, mode: int = HIDDEN) -> int:
        """Open a file that was not there before; raises FileExistsError, or another OSError."""
        made = os.O_CREAT | os.O_EXCL
        return os.open(name, flags | made | SAFELY, mode, dir_fd=self.descriptor)

    def read(self, name: str, most: int, owner: int | None = None) -> bytes:
        """Return a file of its `owner`, of at most so many bytes.

        Raises FileNotFoundError, Distrust for what is no such file, or another OSError.
        """
        descriptor = self.open_file(name, owner=owner)
        with open(descriptor, "rb") as stream:
            content = stream.read(most + 1)
        if len(content) > most:
            raise Distrust(f"{self.where(name)}: is larger than {most} bytes")
        return content

    def replace(
        self, name: str, content: bytes, owner: int, mode: int = READABLE, group: int = -1
    ) -> None:
        """Write a file for all to read; it has its name only when it is whole on the disk.

        It becomes its `owner`'s, and a `group`'s if one is said, whom only root may choose. Raises
        OSError.
        """
        draft = fresh_name("draft")
        descriptor = self.make_file(draft)
        try:
            with open(descriptor, "wb") as stream:
                if owner != os.getuid() or group >= 0:
                    os.fchown(descriptor, owner, group)
                os.fchmod(descriptor, mode)  # whatever the umask
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            self.rename(draft, name)
        except BaseException:  # interrupted too, no draft is left behind
            self.remove(draft)
            raise

    def rename(self, old: str, new: str) -> None:
        """Give what has a name another one, in place of what has that; raises OSError."""
        os.replace(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def link_at(self, name: str) -> str | None:
        """Return where a link leads; None where nothing has its name. Raises OSError."""
        try:
            return os.readlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None

    def set_link(self, name: str, target: str) -> None:
        """Make a link, at once in place of any file or link of that name; raises OSError."""
        draft = fresh_name("link")
        os.symlink(target, draft, dir_fd=self.descriptor)
        try:
            self.rename(draft, name)
        except BaseException:  # interrupted too, no draft is left behind
            self.remove(draft)
            raise

    def try_link(self, target: str) -> None:
        """Make a link, and remove it: raises OSError where none can be made."""
        draft = fresh_name("link")
        os.symlink(target, draft, dir_fd=self.descriptor)
        self.unlink(draft)

    def unlink(self, name: str) -> None:
        """Remove a name; raises OSError."""
        os.unlink(name, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a name; where that cannot be, leave it."""
        with contextlib.suppress(OSError):
            self.unlink(name)

    def sync(self) -> None:
        """Have the names in it written to the disk; raises OSError."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            if error.errno not in {errno.EBADF, errno.EINVAL}:  # one that may not be read
                raise

    def is_file(self, name: str) -> bool:
        """Tell whether a regular file has this name."""
        try:
            return stat.S_ISREG(self.status_of(name).st_mode)
        except OSError:
            return False
