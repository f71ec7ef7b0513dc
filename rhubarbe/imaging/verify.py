"""Read back from the disk itself, not from memory, and compare with what was to be written."""

import errno
import mmap
import os
from collections.abc import Iterator
from typing import Self

from rhubarbe.imaging.errors import VerifyError
from rhubarbe.imaging.placing import Placed
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.digests import digester
from rhubarbe.ndz.header import SECTOR, Region
from rhubarbe.ndz.inflate import engine
from rhubarbe.ndz.manifest import Manifest

_WINDOW = 1 << 20
_LEAST = 1 << 16
_ALIGN = 4096


class DiskReader:
    """Reads a file or device past the page cache.

    By O_DIRECT, or where that is not possible, after the cached pages were dropped, which is
    proven page by page: `is_proven` says whether every byte came from the device.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self.is_proven = True
        self._buffer = mmap.mmap(-1, _WINDOW)
        self._start = self._got = 0  # what the buffer holds of the disk
        path = f"/proc/self/fd/{descriptor}"
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
            self.is_direct = True
        except OSError:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.is_direct = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self._buffer.close()

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a range, which may end early where the disk does.

        Small ranges that follow each other closely are read together, so each is to be asked for
        once.
        """
        end = offset + length
        while offset < end:
            if not self._start <= offset < self._start + self._got:
                self._start = offset - offset % _ALIGN
                wanted = max(_LEAST, -(-(end - self._start) // _ALIGN) * _ALIGN)
                self._got = self._fill(self._start, min(_WINDOW, wanted))
            at = offset - self._start
            part = self._buffer[at : min(self._got, end - self._start)]
            if not part:
                return
            yield part
            offset += len(part)

    def _fill(self, start: int, count: int) -> int:
        view = memoryview(self._buffer)[:count]
        if self.is_direct:
            try:
                return os.preadv(self._descriptor, [view], start)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._use_cache()
        os.posix_fadvise(self._descriptor, start, count, os.POSIX_FADV_DONTNEED)
        self.is_proven = self.is_proven and not self._is_cached(view, start)
        return os.preadv(self._descriptor, [view], start)

    def _use_cache(self) -> None:
        path = f"/proc/self/fd/{self._descriptor}"
        self.is_direct = False
        plain = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._descriptor)
        self._descriptor = plain

    def _is_cached(self, view: memoryview, start: int) -> bool:
        try:
            return os.preadv(self._descriptor, [view], start, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            return False
        except OSError:  # a filesystem without this: nothing is proven
            return True


def verify_target(
    target: Target, placed: list[Placed], manifest: Manifest | None = None
) -> tuple[int, bool]:
    """Compare each chunk with what the disk holds; raise VerifyError naming it.

    What the disk was to hold as the manifest has it is compared with that, the rest with the
    checksum of what was written. Returns how many bytes were compared, and whether all of them
    came from the device.
    """
    with DiskReader(target.descriptor, target.name) as reader:
        compared = 0
        for chunk in placed:
            if chunk.check is None and chunk.index is not None and manifest:
                compared += _verify_vouched(reader, target, chunk.index, manifest)
            else:
                compared += _verify_written(reader, target, chunk)
        return compared, reader.is_proven


def _verify_vouched(reader: DiskReader, target: Target, index: int, manifest: Manifest) -> int:
    vouched = manifest.vouched(index)
    made = digester(manifest.algorithm)
    compared = 0
    for region in vouched.regions:
        for part in reader.read(target.base + region.start * SECTOR, region.size * SECTOR):
            made.update(part)
            compared += len(part)
    if made.digest() != vouched.sectors:
        raise _differs(target, index, vouched.regions, "what the manifest vouches for")
    return compared


def _verify_written(reader: DiskReader, target: Target, placed: Placed) -> int:
    check = compared = 0
    limits = [limit for limit in (placed.short_end, target.size) if limit is not None]
    for region in placed.regions:
        start, end = region.start * SECTOR, min([region.end * SECTOR, *limits])
        for part in reader.read(target.base + start, end - start):
            check = engine.crc32(part, check)
            compared += len(part)
    if check != placed.check:
        raise _differs(target, placed.index, tuple(placed.regions), "what was written")
    return compared


def _differs(
    target: Target, index: int | None, regions: tuple[Region, ...], wanted: str
) -> VerifyError:
    what = "the backup of the GPT" if index is None else f"chunk {index}"
    sectors = f"in sectors {regions[0].start} to {regions[-1].end - 1}: " if regions else ""
    return VerifyError(
        f"{target.name}: verify error: {what}, {sectors}the disk does not hold {wanted}"
    )
