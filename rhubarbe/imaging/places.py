"""Names that are to be written, where others may have laid something under them."""

import os
import stat

from rhubarbe.imaging.errors import TargetError

_MOST_LINKS = 40
_WRITING = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def without_links(path: str) -> tuple[str, int]:
    """Return where a path leads, and the flag that keeps a link laid there meanwhile shut.

    Links at its end are followed if they are root's or ours: raises TargetError for a stranger's.
    The kernel's own, to what is open already, can only be followed by the kernel.
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
        if status.st_uid not in {0, os.geteuid()}:
            raise TargetError(
                f"{place}: is a link that another user made, and is not followed;"
                " name what it leads to"
            )
        place = os.path.join(os.path.dirname(place), os.readlink(place))  # noqa: PTH115, PTH118, PTH120
    raise TargetError(f"{path}: too many links")


def _is_kernel_s(link: os.stat_result) -> bool:
    try:
        return link.st_dev == os.lstat("/proc/self").st_dev
    except OSError:
        return False


def open_partial(path: str) -> int:
    """Open the file of an image in the making, empty; one that was left there must be ours.

    Raises TargetError for what somebody else laid there, or OSError.
    """
    try:
        return os.open(path, _WRITING | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        pass
    try:
        descriptor = os.open(path, _WRITING)
    except OSError as error:
        raise _in_the_way(path) from error
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


def _in_the_way(path: str) -> TargetError:
    return TargetError(f"{path}: is in the way, and is no file of yours; remove it")
