"""The way along a path, a directory after the other, through no link that a stranger laid.

Each directory is opened once, and the next name looked up in it: whatever is renamed or replaced
meanwhile, what was looked at is what is entered.
"""

import errno
import os
import stat

from rhubarbe.shared.trust import require_link

MOST_LINKS = 40
_PASS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Walk:
    """Where one has come to: an open directory, how it is called, and the names still to go."""

    def __init__(self, path: str) -> None:
        """Start at the root, or in the current directory; raises OSError."""
        self.descriptor = -1
        self.text = "/" if path.startswith("/") else os.getcwd()
        self._rest = _names(path)
        self._links = 0
        self._move(os.open("/" if path.startswith("/") else ".", _PASS))

    def to_the_end(self, *, follows: bool, aliases: bool) -> str:
        """Enter all directories but the last name, and return that; raises OSError.

        It may be the name of nothing. Where a link is to be followed there, what it leads to is
        named; with `aliases` a stranger's link, too, if it gives but another name right here.
        """
        while True:
            name = self._rest.pop() if self._rest else "."
            is_last = not self._rest
            if name == ".." or (not is_last and not self._is_link(name)):
                self._enter(name)
            elif is_last and not (follows and self._is_link(name)):
                return name
            else:
                self._follow(name, aliases=aliases and is_last)

    def _is_link(self, name: str) -> bool:
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            if self._rest:
                raise
            return False
        return stat.S_ISLNK(status.st_mode)

    def _enter(self, name: str) -> None:
        """Enter a directory, which also mounts a file system that is mounted on demand."""
        self._move(os.open(name, _PASS | os.O_DIRECTORY, dir_fd=self.descriptor))
        above = os.path.dirname(self.text)
        self.text = above if name == ".." else os.path.join(self.text, name)

    def _follow(self, name: str, *, aliases: bool) -> None:
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        link = os.open(name, _PASS, dir_fd=self.descriptor)
        try:
            status = os.fstat(link)
            target = os.readlink("", dir_fd=link)
        finally:
            os.close(link)
        if not (aliases and "/" not in target):
            require_link(self.descriptor, status, os.path.join(self.text, name))
        if target.startswith("/"):
            self._move(os.open("/", _PASS))
            self.text = "/"
        self._rest += _names(target)

    def enter_to_read(self) -> None:
        """Have the directory open for its names to be read, and to be synced; raises OSError."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._move(os.open(".", flags, dir_fd=self.descriptor))

    def _move(self, descriptor: int) -> None:
        self.close()
        self.descriptor = descriptor

    def close(self) -> None:
        """Close the directory."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


def _names(path: str) -> list[str]:
    """Return the names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
