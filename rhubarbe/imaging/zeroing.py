"""Ranges of a disk or a file that the kernel makes zero at once, without their being written."""

import fcntl
import os
import stat
import struct

_BLKZEROOUT = 0x127F
_PUNCH_KEEPING_SIZE = 3


def zero_at_once(descriptor: int, offset: int, length: int) -> bool:
    """Have a range read as zeros; false where this output cannot do that."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISBLK(mode):
        try:
            fcntl.ioctl(descriptor, _BLKZEROOUT, struct.pack("QQ", offset, length))
        except OSError:
            return False
        return True
    return stat.S_ISREG(mode) and _punch(descriptor, offset, length)


def _punch(descriptor: int, offset: int, length: int) -> bool:
    import ctypes  # costs several ms, and only a file taken as a disk needs it

    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(libc.fallocate(descriptor, _PUNCH_KEEPING_SIZE, offset, length) == 0)
