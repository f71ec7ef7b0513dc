"""Names that are to be written, where others may have laid something under them."""

import os
import stat

from rhubarbe.annexe.errors import NotOurs

_MOST_LINKS = 40
_WRITING = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def without_links(path: str) -> tuple[str, int]:
    """Return where a path leads, and the flag that keeps a link laid there meanwhile shut.

    Links at its end are followed if they are root's or ours: raises NotOurs for a stranger's.
    The kernel's own, to what is open already, can only be followed by the kernel: no flag then.
    """
    place = path
    for _ in range(_MOST_LINKS):
        try:
            status = os.lstat(place)
        except OSError:  # who opens it tells what is wrong
            return place, os.O_NOFOLLOW
        if not stat.S_ISLNK(status.st_mode):
            return place, os.O_NOFOLLOW
        if _is_kernel_s(status):
            return place, 0
        if not _is_ours(status):
            raise NotOurs(
                f"{place}: is a link that another user made, and is not followed;"
                " name what it leads to"
            )
        place = os.path.join(os.path.dirname(place), os.readlink(place))  # noqa: PTH115, PTH118, PTH120
    raise NotOurs(f"{path}: too many links")


def _is_kernel_s(link: os.stat_result) -> bool:
    try:
        return link.st_dev == os.lstat("/proc/self").st_dev
    except OSError:
        return False


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in {0, os.geteuid()}


def open_partial(path: str) -> int:
    """Open the file of an image in the making, empty; one that was left there must be ours.

    Raises NotOurs for what somebody else laid there, or OSError.
    """
    try:
        return os.open(path, _WRITING | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        pass
    try:
        descriptor = os.open(path, _WRITING)
    except OSError as error:
        raise _in_the_way(path) from error
    return _emptied(descriptor, path)


def _emptied(descriptor: int, path: str) -> int:
    """Return an open file without its content, if it is ours and has no other name."""
    try:
        _require_ours(descriptor, path)
        os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_ours(descriptor: int, path: str) -> None:
    status = os.fstat(descriptor)
    is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    if not is_ours or status.st_nlink > 1:
        raise _in_the_way(path)


def _in_the_way(path: str) -> NotOurs:
    return NotOurs(f"{path}: is in the way, and is no file of yours; remove it")


def open_to_tell(path: str) -> int:
    """Open a file, which is emptied, or a pipe or terminal of root's or ours, to write into it.

    What is open already is taken by its path among the kernel's, `/dev/fd/3`, whosever it is.
    Raises NotOurs for what somebody else laid there, or OSError. A pipe's reader is waited for.
    """
    place, keeps_links_shut = without_links(path)
    if not keeps_links_shut:
        return os.open(place, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    # Looked at first: another's pipe would have us wait for its reader.
    try:
        found = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return open_partial(place)
    try:
        status = os.fstat(found)
        if stat.S_ISREG(status.st_mode):
            return open_partial(place)
        if stat.S_ISLNK(status.st_mode) or not _is_ours(status):
            raise _in_the_way(path)
        return os.open(f"/proc/self/fd/{found}", os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    finally:
        os.close(found)
