"""Where the sectors of a chunk go on the target, whatever order the chunks come in."""

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.imaging.errors import ImagingError
from rhubarbe.imaging.fitting import AS_IT_IS, Fate
from rhubarbe.imaging.relocations import NO_SLICE, Slice, changes_any, relocated, unknown_kinds
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.header import SECTOR, Buffer, ChunkHeader, Region
from rhubarbe.ndz.inflate import engine, inflate
from rhubarbe.ndz.manifest import Manifest
from rhubarbe.ndz.relocations import short_end
from rhubarbe.ndz.seal import Seal, SectorsCheck

_PACKED = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Placed:
    """What was written for one chunk: the checksum is of the sectors as they now must be.

    The regions are kept packed: all chunks of a large image stay in memory until it is verified.
    What was written besides the chunks has no index. Without a checksum, the manifest says what
    must be there, and where.
    """

    index: int | None
    packed: bytes
    data_bytes: int
    check: int | None
    writes: int
    short_end: int | None = None

    @property
    def regions(self) -> Iterator[Region]:
        """The sectors that were written, ascending."""
        return map(Region._make, _PACKED.iter_unpack(self.packed))


class ChunkPlacer:
    """Writes inflated chunks to a target, from any thread; remembers what they covered.

    `fit` says what is done otherwise than the chunks say; `has_lost` that data, other than zeros,
    was left out, since it is beyond the end of the disk, and in no partition.
    """

    def __init__(
        self, target: Target, *, keep_checks: bool, manifest: Manifest | None = None
    ) -> None:
        self.writes = 0
        self.checks: list[Placed] = []
        self.unknown_relocations: set[int] = set()
        self.fit = AS_IT_IS
        self.has_lost = False
        self._target = target
        self._keep_checks = keep_checks
        self._manifest = manifest
        self._covered: list[Region] = []
        self._short_end: int | None = None
        self._turn = threading.Condition()
        self._next = 0
        self._is_aborted = False

    def place(self, chunk: Buffer, header: ChunkHeader, seal: Seal | None) -> Placed:
        """Write one chunk; raise DamagedChunk where its sectors are not those sealed.

        Raises TargetError where the target does not take them.
        """
        pieces: Iterator[Buffer] = _checked(
            inflate(chunk, header, is_proven=self._manifest is not None), seal, header.index
        )
        if self._target.is_ordered:
            pieces = self._wait_for_turn(pieces, header.index)
        self.unknown_relocations.update(unknown_kinds(header))
        if changes_any(header):
            target = self._target
            is_slice = target.is_slice
            place = Slice(target.base // SECTOR, target.size) if is_slice else NO_SLICE
            pieces = relocated(pieces, header, place)
        placed = self._write(pieces, header)
        if self._target.zero_free:
            for gap in _gaps(header):
                self._target.zero(gap.start * SECTOR, gap.size * SECTOR)
        self._note(placed, header)
        return placed

    def finish(self) -> int:
        """Make zero what no chunk covered, where the target asks for it; return how many bytes.

        Then write what the disk gets besides the chunks.
        """
        zeroed = self._zero_rest() if self._target.zero_free else 0
        for offset, data in self.fit.additions:
            self._target.write(offset, data)
            self.writes += 1
            region = Region(offset // SECTOR, len(data) // SECTOR)
            check = engine.crc32(data)
            self.checks.append(Placed(None, _PACKED.pack(*region), len(data), check, 1))
        return zeroed

    def clear(self) -> None:
        """Make zero what the disk must not keep; to be called before any chunk is placed."""
        for start, end in self.fit.cleared:
            self._target.zero(start * SECTOR, (end - start) * SECTOR)

    def _zero_rest(self) -> int:
        """Of a slice that is larger than the image, what is behind that is somebody else's."""
        end = max((covered.end for covered in self._covered), default=0) * SECTOR
        self._target.extend(end if self._short_end is None else self._short_end)
        size = end if self._target.size is None else self._target.size
        size = min(size, end) if self._target.is_slice else size
        reach = zeroed = 0
        for start, stop in [
            *sorted((c.start * SECTOR, c.end * SECTOR) for c in self._covered),
            (size, size),
        ]:
            if min(start, size) > reach:
                self._target.zero(reach, min(start, size) - reach)
                zeroed += min(start, size) - reach
            reach = max(reach, stop)
        return zeroed

    def abort(self) -> None:
        """Wake the threads that wait for their turn: nothing more is to be written."""
        with self._turn:
            self._is_aborted = True
            self._turn.notify_all()

    def _write(self, pieces: Iterator[Buffer], header: ChunkHeader) -> Placed:
        end = short_end(header)
        fates = self.fit.fates(header.regions)
        written = [region for region, fate in fates if fate is Fate.WRITTEN]
        reach = written[-1].end * SECTOR if written else 0
        self._target.check_room(reach if end is None else min(reach, end))
        cursor = _Cursor(fates)
        is_vouched = self._is_as_vouched(header, fates)
        check = data_bytes = writes = 0
        for piece in pieces:
            for offset, run, fate in cursor.spread(piece):
                if fate is not Fate.WRITTEN:
                    self.has_lost |= fate is Fate.LOST and bool(bytes(run).strip(b"\0"))
                    continue
                part = self.fit.patch(offset, run if end is None else run[: max(end - offset, 0)])
                length = self._target.write(offset, part)
                if self._keep_checks and not is_vouched:
                    check = engine.crc32(part[:length], check)
                data_bytes += length
                writes += 1
        if is_vouched:
            return Placed(header.index, b"", data_bytes, None, writes)
        packed = b"".join(_PACKED.pack(*region) for region in written)
        return Placed(header.index, packed, data_bytes, check, writes, end)

    def _is_as_vouched(self, header: ChunkHeader, fates: list[tuple[Region, Fate]]) -> bool:
        """Whether the disk gets all of a chunk, and nothing else than the manifest says."""
        if self._manifest is None or changes_any(header):
            return False
        size = self._target.size
        return (
            short_end(header) is None
            and all(fate is Fate.WRITTEN for _, fate in fates)
            and not self.fit.patches_any(header.regions)
            and (size is None or not fates or fates[-1][0].end * SECTOR <= size)
        )

    def _wait_for_turn(self, pieces: Iterator[Buffer], index: int) -> Iterator[Buffer]:
        """Inflate the first piece at once, then wait for the chunks before this one."""
        first = next(pieces, b"")
        with self._turn:
            self._turn.wait_for(lambda: self._next == index or self._is_aborted)
            if self._is_aborted:
                raise ImagingError(f"chunk {index}: not written, an earlier one failed")
        yield first
        yield from pieces

    def _note(self, placed: Placed, header: ChunkHeader) -> None:
        with self._turn:
            self.writes += placed.writes
            self._covered.append(Region(header.first, header.last - header.first))
            if placed.short_end is not None:
                self._short_end = placed.short_end
            if self._keep_checks:
                self.checks.append(placed)
            self._next += 1
            self._turn.notify_all()


def _checked(pieces: Iterator[bytes], seal: Seal | None, index: int) -> Iterator[bytes]:
    """Pass on a chunk's pieces; raise DamagedChunk at their end if they are not those sealed."""
    sectors = SectorsCheck(seal)
    for piece in pieces:
        sectors.update(piece)
        yield piece
    sectors.finish(index)


class _Cursor:
    """Walks through the regions as their sectors come in."""

    def __init__(self, fates: list[tuple[Region, Fate]]) -> None:
        self._fates = iter(fates)
        self._fate = Fate.WRITTEN
        self._offset = self._left = 0

    def spread(self, piece: Buffer) -> Iterator[tuple[int, memoryview, Fate]]:
        """Yield (byte offset on the target, bytes, their fate) for each run of the piece."""
        view = memoryview(piece)
        while view:
            if not self._left:
                region, self._fate = next(self._fates)
                self._offset, self._left = region.start * SECTOR, region.size * SECTOR
            part = view[: self._left]
            yield self._offset, part, self._fate
            self._offset += len(part)
            self._left -= len(part)
            view = view[len(part) :]


def _gaps(header: ChunkHeader) -> Iterator[Region]:
    reach = header.first
    for region in (*header.regions, Region(header.last, 0)):
        if region.start > reach:
            yield Region(reach, region.start - reach)
        reach = region.end
