"""A loop device that shows one partition of a file or disk, for programs that want a whole device.

Made by the kernel's own calls: the losetup of a ramdisk's busybox knows no length. The kernel takes
the device back when the last one closes it, however this process ends. Source: include/uapi/linux/
loop.h of the Linux kernel.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from rhubarbe.disk.errors import FilesystemError
from rhubarbe.imaging.filesystems.usage import PartitionPlace

_CONTROL = "/dev/loop-control"
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4
_CONFIG = struct.Struct("=II24xQQ12xI64s112x64x")
"""struct loop_config: file, block size, struct loop_info64, what is reserved."""

_TRIES = 20


@contextmanager
def device_of(place: PartitionPlace) -> Iterator[str]:
    """Give the partition a path of its own: a loop device, unless it is all of its file."""
    if place.is_all:
        yield place.path
        return
    try:
        path, descriptor = _attach(place)
    except OSError as error:
        reason = f"no loop device for it, which takes root ({error.strerror})"
        raise FilesystemError(reason) from error
    try:
        yield path
    finally:
        os.close(descriptor)


def _attach(place: PartitionPlace) -> tuple[str, int]:
    """Return a loop device, and what keeps it; others may take the one that was free: try again."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    file = os.open(place.path, flags)
    try:
        for _ in range(_TRIES):
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            device = os.open(path, flags)
            name = os.fsencode(place.path)[:63]
            config = _CONFIG.pack(file, 0, place.offset, place.size, _READ_ONLY | _AUTOCLEAR, name)
            try:
                fcntl.ioctl(device, _CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return path, device
    finally:
        os.close(file)
        os.close(control)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
