"""The output of a restore: a regular file that stays sparse, a disk, a slice of one, or a pipe."""

import errno
import fcntl
import mmap
import os
import stat
import threading
from typing import Self

from rhubarbe.imaging.devices import STDOUT, is_seekable, open_target
from rhubarbe.imaging.errors import TargetError
from rhubarbe.imaging.sectorsize import of_device, read_disk_table
from rhubarbe.imaging.zeroing import zero_at_once
from rhubarbe.ndz.header import Buffer

ZEROS = memoryview(bytes(1 << 20))

# What makes a disk boot, or a filesystem mount, is in here: boot sector, GPT header, superblock.
HEAD = 4096


class Target:
    """An open output; offsets are bytes from the start of the disk, or of the slice.

    `size` is how much it can hold, None where nothing bounds it, `sector_size` the bytes of its
    logical sectors, None where it is no device. `is_ordered` says that it can
    only be written from start to end (a pipe): what is left out is then filled with zeros. Zeros
    here are what `fill_with` says, where it was called.

    The first bytes of a disk are zeros from the first write on, and written by `sync` after all the
    rest: a restore that was cut short leaves nothing that boots, half old and half new.
    """

    def __init__(self, descriptor: int, name: str, *, zero_free: bool, keep_size: bool) -> None:
        self.name = name
        self.descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self.is_block = stat.S_ISBLK(mode)
        self.is_regular = stat.S_ISREG(mode)
        self.is_ordered = not is_seekable(descriptor)
        self.is_direct = False
        self.base = 0
        self._was_open = name in STDOUT
        if self._was_open:
            self._begin_where_it_stands(keep_size=keep_size)
        self.zero_free = zero_free or self.is_ordered
        self.is_fresh = self.is_regular and not keep_size and not self.is_ordered
        self.size: int | None = None
        if self.is_block or (self.is_regular and keep_size):
            self.size = os.lseek(descriptor, 0, os.SEEK_END)
        self.sector_size = of_device(descriptor)
        self.is_slice = False
        self.is_truncated = False
        self._head: bytearray | None = None
        self._head_lock = threading.Lock()
        self._position = 0
        self._filling = ZEROS
        self._is_packed = False
        self._aligned = threading.local()

    @classmethod
    def open(  # noqa: PLR0913 - one argument an option
        cls,
        path: str,
        *,
        zero_free: bool = False,
        keep_size: bool = False,
        slice_number: int | None = None,
        direct: bool = False,
        force: bool = False,
        verifies: bool = False,
    ) -> Self:
        """Open `path` for a restore, `-` being the standard output; raise TargetError.

        What is in `/dev` must be a disk, and one that is not in use, unless `force`.

        A regular file is made or emptied, unless `keep_size`: it is then taken as a disk of its
        size, whose other content stays. `slice_number` counts as the partition table on the
        output does. `direct` bypasses the page cache where that is possible. With `verifies` it
        must be a disk or a file, since it is read back.
        """
        creates = not (keep_size or slice_number is not None)
        descriptor = open_target(path, creates=creates, force=force)
        try:
            target = cls(
                descriptor,
                path,
                zero_free=zero_free,
                keep_size=keep_size or slice_number is not None,
            )
            if verifies:
                target._require_readable()
            if slice_number is not None:
                target._enter_slice(slice_number)
            if direct:
                target._bypass_cache()
        except BaseException:
            os.close(descriptor)
            raise
        return target

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fill_with(self, pattern: bytes) -> None:
        """Have free space hold these four bytes again and again, instead of zeros."""
        if any(pattern):
            self._filling = memoryview(pattern * (len(ZEROS) // len(pattern)))

    def pack(self) -> None:
        """Have data follow data, without the space between them; raise TargetError for a disk."""
        if self.is_block:
            raise TargetError(f"{self.name}: is a disk, where data has its place: not with -I")
        self.is_ordered = self._is_packed = True
        self.is_fresh = self.zero_free = False

    def _begin_where_it_stands(self, *, keep_size: bool) -> None:
        """Begin a standard output where what was written to it before ends, as filters do.

        What lies beyond that in a file is written over, and so has to be written in order, without
        holes. Raises TargetError in the middle of a disk.
        """
        if not (self.is_regular or self.is_block):
            return
        at, end = (os.lseek(self.descriptor, 0, how) for how in (os.SEEK_CUR, os.SEEK_END))
        os.lseek(self.descriptor, at, os.SEEK_SET)
        if self.is_block or keep_size:
            if at or self.is_ordered:
                how = "appended to" if self.is_ordered else f"from byte {at} on"
                raise TargetError(f"{self.name}: a disk is written from its start, not {how}")
        elif self.is_ordered:
            self.base = end
        else:
            self.base, self.is_ordered = at, end > at

    def _require_readable(self) -> None:
        """Raise TargetError where what is written cannot be read back: a pipe, a terminal."""
        mode = os.fstat(self.descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise TargetError(
                f"{self.name}: nothing was written: --verify reads back what was written, which"
                " can be done on a disk or in a file only"
            )

    def close(self) -> None:
        """Close the output; harmless when it is closed already."""
        if self.descriptor >= 0:
            if self._was_open and self.is_direct:  # others may go on writing there
                self._use_cache()
            os.close(self.descriptor)
            self.descriptor = -1

    def check_room(self, end: int) -> None:
        """Raise TargetError where bytes up to `end` do not fit; of a slice, `write` sees to it."""
        if self.size is not None and end > self.size and not self.is_slice:
            raise self._error(errno.ENOSPC)

    def write(self, offset: int, data: Buffer) -> int:
        """Write data at a byte offset, all of it; return how much was not beyond a slice's end.

        Only zeros are left out there. Raises TargetError (`write error: ...`), also where the
        output is too small.
        """
        view = memoryview(data)
        room = len(view) if self.size is None else max(self.size - offset, 0)
        if room < len(view):
            if not self.is_slice or bytes(view[room:]).strip(b"\0"):
                raise self._error(errno.ENOSPC)
            self.is_truncated = True
            view = view[:room]
        if self.is_ordered:
            self._append(offset, view)
        else:
            held = self._hold(offset, view)
            self._write_all(self.base + offset + held, view[held:])
        return len(view)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, by holes where the output has any; raise TargetError."""
        if self.size is not None:
            length = min(length, self.size - offset)
        filling, is_zero = self._filling, self._filling is ZEROS
        if length <= 0 or (self.is_fresh and is_zero):  # a fresh file has only holes there
            return
        if self.is_ordered:
            self._append(offset + length, filling[:0])
            return
        held = self._hold(offset, filling[: min(length, HEAD)])
        offset, length = offset + held, length - held
        if not (is_zero and zero_at_once(self.descriptor, self.base + offset, length)):
            for start in range(offset, offset + length, len(filling)):
                part = filling[: min(len(filling), offset + length - start)]
                self._write_all(self.base + start, part)

    def extend(self, length: int) -> None:
        """Give a fresh file this length at least."""
        end = self.base + length
        if self.is_fresh and os.fstat(self.descriptor).st_size < end:
            os.ftruncate(self.descriptor, end)

    def sync(self) -> None:
        """Wait until all of it is on the disk, the first bytes last; raise TargetError."""
        if not self.is_regular and not self.is_block:
            return
        self._flush()
        if self._head is not None:
            self._write_all(self.base, memoryview(self._head))
            self._flush()
        if self._was_open and self.is_fresh:  # who writes there next goes on behind us
            os.lseek(self.descriptor, 0, os.SEEK_END)

    def _flush(self) -> None:
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            raise self._error(error.errno) from error

    def _hold(self, offset: int, view: memoryview) -> int:
        """Hold back what belongs to the first bytes of a disk; return how much of `view` does."""
        if self.is_fresh or not (self.is_regular or self.is_block):
            return 0
        with self._head_lock:
            if self._head is None:
                # Zeros on the disk itself before anything else is: power may fail at any moment.
                self._head = self._read_head()
                self._write_all(self.base, ZEROS[: len(self._head)])
                self._flush()
            part = view[: max(len(self._head) - offset, 0)]
            self._head[offset : offset + len(part)] = part
        return len(part)

    def _read_head(self) -> bytearray:
        with mmap.mmap(-1, HEAD) as buffer:  # starts a page, as direct reads want it
            try:
                got = os.preadv(self.descriptor, [buffer], self.base)
            except OSError as error:
                if error.errno != errno.EINVAL or not self.is_direct:
                    raise
                self._use_cache()
                got = os.preadv(self.descriptor, [buffer], self.base)
            return bytearray(buffer[:got])

    def _error(self, number: int | None) -> TargetError:
        return TargetError(f"{self.name}: write error: {os.strerror(number or errno.EIO)}")

    def _append(self, offset: int, view: memoryview) -> None:
        while (gap := offset - self._position) > 0 and not self._is_packed:
            part = self._filling[: min(gap, len(self._filling))]
            self._write_all(None, part)
            self._position += len(part)
        self._write_all(None, view)
        self._position += len(view)

    def _write_all(self, offset: int | None, view: memoryview) -> None:
        while view:
            was_direct = self.is_direct
            try:
                written = self._write_some(offset, view)
            except OSError as error:
                if error.errno == errno.EINVAL and was_direct:
                    self._use_cache()
                    continue
                raise self._error(error.errno) from error
            if written == 0:
                raise self._error(errno.ENOSPC)
            view = view[written:]
            offset = None if offset is None else offset + written

    def _write_some(self, offset: int | None, view: memoryview) -> int:
        if offset is None:
            return os.write(self.descriptor, view)
        if self.is_direct:
            view = self._align(view)
        return os.pwrite(self.descriptor, view, offset)

    def _align(self, view: memoryview) -> memoryview:
        """Return the first bytes of `view` in a buffer of this thread that starts a page."""
        if not hasattr(self._aligned, "buffer"):
            self._aligned.buffer = mmap.mmap(-1, len(ZEROS))
        buffer: mmap.mmap = self._aligned.buffer
        length = min(len(view), len(buffer))
        buffer[:length] = view[:length]
        return memoryview(buffer)[:length]

    def _bypass_cache(self) -> None:
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        except OSError:  # not every filesystem has it: the cache is then used
            return
        self.is_direct = True

    def _use_cache(self) -> None:
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        self.is_direct = False

    def _enter_slice(self, number: int) -> None:
        if self.is_ordered:
            raise TargetError(f"{self.name}: has no slices: -s is for disks")
        size = self.size or 0
        table = read_disk_table(self.descriptor, size, self.name)
        slice_ = table.find(number)
        if slice_.is_extended or slice_.start == 0:
            what = "that of its logical partitions" if slice_.is_extended else "this one"
            raise TargetError(
                f"{self.name}: slice {number} holds a partition table, {what}: nothing was written"
            )
        self.base = slice_.start * 512
        self.size = slice_.size * 512
        self.is_slice = True
