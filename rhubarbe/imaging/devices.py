"""Opening what is to be written, so that a disk is meant, is there, and is not in use."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rhubarbe.annexe.errors import NotOurs
from rhubarbe.annexe.places import without_links
from rhubarbe.imaging.errors import TargetError
from rhubarbe.imaging.inuse import SYSFS, use_of, use_of_file
from rhubarbe.text import sanitise, size_of

DEV = "/dev"
STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Not opened by name: of a file, that would begin at its start, or empty it."""
_OPEN_ALREADY = ("/dev/stdout", "/dev/stderr", "/dev/fd/")
_NULL = os.makedev(1, 3)
_FLAGS = os.O_RDWR | os.O_CLOEXEC
# Programs such as udev have a disk open for a moment after each change: the opening is retried.
_MOMENT_S = 2.0
_LOOK_EVERY_S = 0.1
_NO_DISKS = ("sr", "fd")
"""Optical and floppy drives: sysfs shows them whether or not there is a disk in them."""


def open_target(path: str, *, creates: bool, force: bool = False) -> int:
    """Open a disk or a file to be written, `-` being the standard output; raise TargetError.

    A file is made or emptied where `creates`. Refused are: a link that a stranger laid, what is no
    disk where devices are, and a disk that is in use, unless `force`. While it is open nobody can
    mount it.
    """
    if path in STDOUT:
        return _checked(os.dup(standard_output()), path, force=force)
    place, keeps_links_shut = _without_links(path)
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib would drop a slash at the end
    except FileNotFoundError:
        status = None
    except OSError as error:
        raise _cannot_open(path, error) from error
    if status is not None and stat.S_ISBLK(status.st_mode):
        return _open_disk(path, status, force=force)
    if status is not None and not force and (use := use_of_file(status)):
        raise TargetError(f"{path} is in use ({use}); imageunzip and frisbee take --force")
    if not path.startswith(_OPEN_ALREADY):
        refuse_no_disk(path)
    flags = _FLAGS | keeps_links_shut | (os.O_CREAT | os.O_TRUNC if creates else 0)
    try:
        descriptor = os.open(place, flags, 0o666)
    except OSError as error:
        raise _cannot_open(path, error) from error
    return _checked(descriptor, path, force=force)


def _without_links(path: str) -> tuple[str, int]:
    try:
        return without_links(path)
    except NotOurs as error:
        raise TargetError(str(error)) from error


def standard_output() -> int:
    """Return its descriptor; raise TargetError where it was closed before we began.

    Then it can only be read (`rhubarbe.start`).
    """
    if fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise TargetError("the standard output is closed")
    return 1


def is_seekable(descriptor: int) -> bool:
    """Whether an output can be written at any offset."""
    try:
        os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError:
        return False
    # in append mode, writes go to the end whatever their offset
    return not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND


def refuse_same(descriptor: int, name: str, *paths: str) -> None:
    """Raise TargetError where one of the paths is what `descriptor` reads, or a part of it.

    What is read would be overwritten, and lost: copies that go wrong do so by one name too many.
    """
    read = os.fstat(descriptor)
    for path in paths:
        try:
            found = os.fstat(1) if path in STDOUT else os.stat(path)  # noqa: PTH116 - as above
        except OSError:
            continue
        if _is_same(read, found):
            raise TargetError(f"{path}: is what is read ({name}): it would be overwritten")


def _is_same(read: os.stat_result, found: os.stat_result) -> bool:
    if stat.S_ISBLK(read.st_mode) and stat.S_ISBLK(found.st_mode):
        one, other = _place_of(read.st_rdev), _place_of(found.st_rdev)
        return other in {one, one.parent} or one == other.parent
    is_file = stat.S_ISREG(read.st_mode) and stat.S_ISREG(found.st_mode)
    return is_file and (read.st_dev, read.st_ino) == (found.st_dev, found.st_ino)


def _place_of(device: int) -> Path:
    """Return where the kernel shows a device: a partition below its disk."""
    return Path(os.path.realpath(f"{SYSFS}/dev/block/{os.major(device)}:{os.minor(device)}"))


def _cannot_open(path: str, error: OSError) -> TargetError:
    return TargetError(f"{path}: cannot open output: {error.strerror}")


def refuse_no_disk(path: str) -> None:
    """Raise TargetError where `path` is in the filesystem of devices, and is no disk.

    A regular file there would be in memory. What is mounted elsewhere below `/dev` holds files like
    any other place.
    """
    real = os.path.realpath(path)
    try:
        status = Path(real).stat()
    except OSError:
        if _is_among_devices(_first_there(Path(real).parent), real):
            raise TargetError(f"{path}: no such disk; {disks_here()}") from None
        return
    if stat.S_ISBLK(status.st_mode) or status.st_rdev == _NULL:
        return
    if _is_among_devices(Path(real), real):
        raise TargetError(f"{path}: is no disk; {disks_here()}")


def _first_there(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _is_among_devices(there: Path, path: str) -> bool:
    """Whether `there`, which exists, is in the filesystem of /dev, and `path` below it."""
    number = there.stat().st_dev
    try:
        if path.startswith(DEV + "/") and number == Path(DEV).stat().st_dev:
            return True
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:  # neither is there
        return path.startswith(DEV + "/")
    name = f"{os.major(number)}:{os.minor(number)}"
    return any(line.split()[2] == name and " - devtmpfs " in line for line in lines)


def _refuse_in_use(path: str, device: int) -> None:
    if use := use_of(f"{os.major(device)}:{os.minor(device)}"):
        raise TargetError(f"{path} is in use ({use}); imageunzip and frisbee take --force")


def _open_disk(path: str, status: os.stat_result, *, force: bool) -> int:
    """Open a disk, exclusively unless `force`, and make sure that it is the one looked at."""
    if not force:
        _refuse_in_use(path, status.st_rdev)
    descriptor = _open_patiently(path, _FLAGS if force else _FLAGS | os.O_EXCL)
    found = os.fstat(descriptor)
    if (stat.S_IFMT(found.st_mode), found.st_rdev) != (stat.S_IFBLK, status.st_rdev):
        os.close(descriptor)
        raise TargetError(f"{path}: became another device while it was opened")
    return descriptor


def _open_patiently(path: str, flags: int) -> int:
    """Open a disk, which others may have open for a moment.

    An exclusive opening is refused by the kernel where a filesystem, RAID, LVM or swap holds the
    disk or a partition of it, also one that is mounted in another namespace.
    """
    end = time.monotonic() + _MOMENT_S
    while True:
        try:
            return os.open(path, flags)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise _cannot_open(path, error) from error
            if time.monotonic() > end:
                raise TargetError(
                    f"{path} is in use (the kernel holds it for a filesystem, a volume or another"
                    " program); imageunzip and frisbee take --force"
                ) from error
        time.sleep(_LOOK_EVERY_S)


def _checked(descriptor: int, name: str, *, force: bool) -> int:
    """Return an open descriptor that may be written to; else close it and raise TargetError."""
    try:
        status = os.fstat(descriptor)
        if stat.S_ISBLK(status.st_mode) and not force:
            _refuse_in_use(name, status.st_rdev)
        elif stat.S_ISREG(status.st_mode):
            real = os.path.realpath(f"/proc/self/fd/{descriptor}")
            if Path(real).exists():
                refuse_no_disk(real)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def disks_here(sysfs: Path = SYSFS) -> str:
    """Name the disks of this machine, each with its size, model and serial number."""
    found = [_words(place) for place in _disks(sysfs)]
    return f"this machine has {', '.join(found)}" if found else "this machine has no disk"


def _disks(sysfs: Path) -> Iterator[Path]:
    for place in sorted(sysfs.glob("block/*")):
        if (
            (place / "device").exists()
            and not place.name.startswith(_NO_DISKS)
            and _read(place / "hidden") in ("", "0")
            and _read(place / "size") not in ("", "0")
        ):
            yield place


def _words(place: Path) -> str:
    size = int(_read(place / "size")) * 512
    model = _read(place / "device/model") or _read(place / "device/name")
    serial = _read(place / "device/serial") or _read(place / "serial") or _page(place)
    parts = [size_of(size), model, f"serial {serial}" if serial else ""]
    return f"{place.name} ({', '.join(filter(None, parts))})"


def _page(place: Path) -> str:
    """Return the serial number that a SCSI disk's page 0x80 has, after a header of four bytes."""
    try:
        return _plain((place / "device/vpd_pg80").read_bytes()[4:])
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return _plain(path.read_bytes())
    except OSError:
        return ""


def _plain(text: bytes) -> str:
    return sanitise(text.decode("ascii", "ignore"))[:100]


@contextmanager
def reopened(descriptor: int, mode: int) -> Iterator[int]:
    """Open a disk once more, in another mode: past the page cache only whole pages can be had."""
    again = os.open(f"/proc/self/fd/{descriptor}", mode | os.O_CLOEXEC)
    try:
        yield again
    finally:
        os.close(again)
