"""Files by their path, in directories where others may have laid something under their names."""

import os
import stat
from collections.abc import Callable
from functools import partial

from rhubarbe.shared.directory import Directory, StrPath, path_of
from rhubarbe.shared.trust import Distrust, is_ours, name_of, require_site_s


def open_own(path: StrPath, flags: int, mode: int) -> int:
    """Open a regular file that is ours and has no other name, made where there is none.

    Never through a link, never waiting for a pipe, and never what belongs to another: raises
    OSError.
    """
    directory, name = Directory.of(path, follows=False)
    with directory:
        return directory.open_own(name, flags, mode)


def find_file(
    path: StrPath, *, follows: bool = True, aliases: bool = False
) -> tuple[Directory, str] | None:
    """Return where the file is that a path leads to, and its name there; None where none is.

    Raises Distrust for a link that is not followed: see `Walk.to_the_end`.
    """
    try:
        directory, name = Directory.of(path, follows=follows, aliases=aliases)
    except Distrust:
        raise
    except OSError:
        return None
    if directory.is_file(name):
        return directory, name
    directory.close()
    return None


def is_there(path: StrPath) -> bool:
    """Tell whether a path leads to a file, or to something of which its reader says what it is."""
    try:
        found = find_file(path)
    except OSError:
        return True
    if found is not None:
        found[0].close()
    return found is not None


def _anybody_s(_: int) -> None:
    """Require nothing: take a file whoever owns it, or can write it."""


def status_of(path: StrPath) -> os.stat_result | None:
    """Return what the kernel says of a file; None where there is none. Raises Distrust."""
    if (found := find_file(path)) is None:
        return None
    directory, name = found
    with directory:
        return directory.status_of(name)


def read_file(
    path: StrPath, most: int, require: Callable[[int], None] = _anybody_s
) -> bytes | None:
    """Return what is in a file, if the open file is as its reader does `require`.

    None where there is none. Raises Distrust, also for one that is too large, or another OSError.
    """
    found = find_file(path)
    return None if found is None else _read(path, *found, most, require)


def read_trusted(path: StrPath, most: int) -> bytes:
    """Return what is in a file that tells commands of all users what to do.

    It must be root's or ours, and not for anybody to write. Raises FileNotFoundError, Distrust,
    or another OSError.
    """
    return read_required(path, most, partial(require_site_s, path=os.fspath(path)))


def read_required(path: StrPath, most: int, require: Callable[[int], None]) -> bytes:
    """Return what is in a file, if the open file is as its reader does `require`.

    Raises FileNotFoundError, Distrust, or another OSError.
    """
    return _read(path, *Directory.of(path), most, require)


def _read(
    path: StrPath, directory: Directory, name: str, most: int, require: Callable[[int], None]
) -> bytes:
    with directory:
        descriptor = directory.open_file(name, many_names=True)
    with open(descriptor, "rb") as stream:
        require(descriptor)
        content = stream.read(most + 1)
    if len(content) > most:
        raise Distrust(f"{path}: is larger than {most} bytes")
    return content


def leads_to_file(directory: Directory, name: str) -> bool:
    """Tell whether a name leads to a file, also by a link, whoever made that: it is not opened."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=directory.descriptor).st_mode)
    except OSError:
        return False


def leads_to_device(path: StrPath) -> bool:
    """Tell whether a path leads to something that can be replaced by no file: a pipe, a terminal.

    A link is followed, whoever made it: see `open_device`.
    """
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def open_device(path: StrPath) -> int:
    """Open a pipe or a device to write into it, whatever leads there, but no file.

    It must be root's or ours: raises OSError. A pipe of ours is waited for.
    """
    # Looked at first: another's pipe would have us wait for its reader.
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(found)
        if stat.S_ISREG(status.st_mode) or not is_ours(status):
            raise Distrust(f"it belongs to {name_of(status.st_uid)}, and is no file")
        return os.open(path_of(found), os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(found)


def umask() -> int:
    """Return which modes files of ours are not to have; to ask the kernel would change it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    except (OSError, ValueError, StopIteration):
        return 0o077
