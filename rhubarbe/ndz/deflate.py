"""Sectors into sealed chunks: batches are deflated apart, in any thread, then packed in order.

Each batch is a raw deflate stream that ends on a byte (a sync flush) and refers to nothing before
it; a chunk's zlib stream is its header, batches one after the other, an empty last block and the
checksum. So the chunks do not depend on how many threads there are.
"""

import hashlib
import itertools
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Protocol

from rhubarbe.ndz.errors import ImageTooLarge
from rhubarbe.ndz.header import (
    SECTOR,
    SECTORS_MAX,
    SHA1,
    SIGNED,
    STREAM_MAX,
    WITH_SECURITY,
    ChunkHeader,
    Region,
    Relocation,
    Security,
)
from rhubarbe.ndz.inflate import engine
from rhubarbe.ndz.relocations import require_whole
from rhubarbe.ndz.seal import BALANCE_SIZE, TABLE_ROOM, Seal, new_digest, seal_chunk, table_size
from rhubarbe.ndz.stored import is_better_stored, stored

BATCH = 128 << 10
"""Bytes that are deflated together: more makes images hardly smaller."""

BATCH_EXTENTS = 128
"""Runs of sectors that one batch may gather."""

LEVEL = 2
"""By default: as fast as level 1; level 3 takes more than twice the time for 5 % less size."""

LEVEL_MAX = 9
_ISAL_LEVEL_MAX = 2
_MIXED_LEVEL = 3
_STRONGER_LEVEL = 5
_STRONGER_BELOW = 0.42
"""Level 3 tries a stronger one where less than this share is left: most is gained there."""

_STREAM_START = b"\x78\x5e"
_STREAM_END = b"\x03\x00"  # an empty last block; the checksum follows
_CHECKSUM_SIZE = 4
_STREAM_ROOM = STREAM_MAX - len(_STREAM_START) - len(_STREAM_END) - _CHECKSUM_SIZE - BALANCE_SIZE
_TOO_LITTLE_ROOM = 8192  # no batch is split to fill less
_SPLIT_SHARES = (0.98, 0.9)  # of what should fit by its average, since parts may deflate worse


@dataclass(frozen=True, slots=True)
class Batch:
    """Some runs of sectors with their data, one after the other; `untrue` could not be read."""

    extents: tuple[Region, ...]
    data: memoryview
    deflated: bytes = b""
    untrue: tuple[Region, ...] = ()

    @property
    def sectors(self) -> int:
        """How many sectors all its runs have."""
        return sum(extent.size for extent in self.extents)

    def split(self, sectors: int) -> tuple["Batch", "Batch"]:
        """Return the first so many sectors, and the rest, neither deflated yet."""
        first: list[Region] = []
        rest: list[Region] = []
        left = sectors
        for extent in self.extents:
            taken = min(extent.size, left)
            left -= taken
            if taken:
                first.append(Region(extent.start, taken))
            if taken < extent.size:
                rest.append(Region(extent.start + taken, extent.size - taken))
        cut = sectors * SECTOR
        return (
            Batch(tuple(first), self.data[:cut], untrue=_within(self.untrue, first)),
            Batch(tuple(rest), self.data[cut:], untrue=_within(self.untrue, rest)),
        )


def _within(untrue: tuple[Region, ...], extents: list[Region]) -> tuple[Region, ...]:
    """Return the parts of the untrue ranges that lie in the extents."""
    parts = (
        (max(run.start, extent.start), min(run.end, extent.end))
        for run in untrue
        for extent in extents
    )
    return tuple(Region(start, end - start) for start, end in parts if start < end)


class Deflater:
    """Deflates batches, for one thread.

    Levels 1 and 2 are those of isal; 0, which stores, and those from 4 on are those of zlib-ng.
    Level 3 is level 2, and level 5 where that gains most for its time. Where one of these libraries
    is not installed, zlib serves for its levels. Up to level 3, what does not deflate is stored.
    """

    def __init__(self, level: int = LEVEL) -> None:
        self._usual = _stream(_ISAL_LEVEL_MAX if level == _MIXED_LEVEL else level)
        self._stronger = _stream(_STRONGER_LEVEL) if level == _MIXED_LEVEL else None
        self._never_stores = 0 < level <= _MIXED_LEVEL  # as isal does, and not the others

    def deflate(self, batch: Batch) -> Batch:
        """Return the batch with its data deflated."""
        deflated = _deflate(self._usual, batch.data)
        if self._stronger and len(deflated) < _STRONGER_BELOW * len(batch.data):
            deflated = min(deflated, _deflate(self._stronger, batch.data), key=len)
        if self._never_stores and is_better_stored(len(deflated), len(batch.data)):
            deflated = stored(batch.data)
        return replace(batch, deflated=deflated)


class _Stream(Protocol):
    def compress(self, data: memoryview, /) -> bytes: ...
    def flush(self, mode: int, /) -> bytes: ...


def _stream(level: int) -> _Stream:
    library = engine if 0 < level <= _ISAL_LEVEL_MAX else _load_strong_engine()
    stream: _Stream = library.compressobj(level, zlib.DEFLATED, -15)
    return stream


def _deflate(stream: _Stream, data: memoryview) -> bytes:
    # One stream serves all batches, to keep its memory; a full flush makes it forget their data.
    return stream.compress(data) + stream.flush(zlib.Z_FULL_FLUSH)


def _load_strong_engine() -> ModuleType:
    try:
        from zlib_ng import zlib_ng
    except ImportError:  # no wheel for this machine: the same streams, half as fast
        return zlib
    return zlib_ng


_ADLER_START = 1


@dataclass(slots=True)
class _Draft:
    """A chunk in the making."""

    first: int
    parts: list[bytes] = field(default_factory=list)
    used: int = 0
    regions: list[Region] = field(default_factory=list)
    untrue: list[Region] = field(default_factory=list)
    relocations: list[tuple[int, Relocation]] = field(default_factory=list)
    adler: int = _ADLER_START
    crc: int = 0
    digest: hashlib.blake2b | None = None

    def room(self) -> int:
        return _STREAM_ROOM - self.used

    def takes_tables(self, batch: Batch, relocations: int) -> bool:
        regions = len(self.regions) + len(batch.extents)
        untrue = len(self.untrue) + len(batch.untrue)
        relocations += len(self.relocations)
        return table_size(regions, relocations, untrue) <= TABLE_ROOM

    def add(self, batch: Batch) -> None:
        self.parts.append(batch.deflated)
        self.used += len(batch.deflated)
        self.adler = engine.adler32(batch.data, self.adler)
        self.crc = engine.crc32(batch.data, self.crc)
        if self.digest:
            self.digest.update(batch.data)
        self.untrue.extend(batch.untrue)
        for extent in batch.extents:
            if self.regions and self.regions[-1].end == extent.start:
                joined = Region(self.regions[-1].start, self.regions[-1].size + extent.size)
                self.regions[-1] = joined
            else:
                self.regions.append(extent)


class Packer:
    """Packs deflated batches, in order, into chunks of 1,048,576 bytes.

    A chunk is held until the next one has begun, since only the last one is marked as such.
    With `uuid`, which they then bear, they are of version 4, else of `version`: 3 or 1. `image_id`
    is that of the seals, `sector_size` that of the disk's logical sectors, in bytes. With
    `is_signed`, they say so, and `rhubarbe.imaging.signature` is to sign them. Each relocation is
    in the chunk that has its sector, in the order in which they are given; where what it is about
    is in two chunks, NdzError is raised.
    """

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        *,
        image_id: bytes,
        level: int = LEVEL,
        uuid: bytes | None = None,
        relocations: Sequence[Relocation] = (),
        sector_size: int = SECTOR,
        version: int = 3,
        is_signed: bool = False,
    ) -> None:
        self.chunks = 0
        self._version = WITH_SECURITY if uuid else version
        self._security = Security(
            image_id=uuid or bytes(16), checksum_type=SIGNED | SHA1 if is_signed else 0
        )
        self._sector_size = sector_size
        self._image_id = image_id
        self._deflater = Deflater(level)
        numbered = enumerate(relocations)
        self._waiting = deque(sorted(numbered, key=lambda each: each[1].sector))
        self._draft = self._new_draft(0)
        self._complete: _Draft | None = None

    def add(self, batch: Batch) -> Iterator[bytearray]:
        """Take the next batch, deflated; yield the chunks that are complete by that.

        Raises ImageTooLarge where its sectors are beyond what an image can count.
        """
        if batch.extents and batch.extents[-1].end > SECTORS_MAX:
            raise ImageTooLarge(
                f"sector {batch.extents[-1].end - 1} is beyond what an image can count"
            )
        while batch.extents:
            draft = self._draft
            fits = len(batch.deflated) <= draft.room()
            takes_tables = draft.takes_tables(batch, len(self._about(batch)))
            if takes_tables and fits:
                self._put(draft, batch)
                return
            if takes_tables:
                batch = self._fill_up(draft, batch)
            elif not draft.regions:  # more relocations than one header has room for
                first, rest = batch.split(batch.sectors // 2)
                yield from self.add(self._deflater.deflate(first))
                batch = self._deflater.deflate(rest)
                continue
            if draft.regions:
                yield from self._turn_page(batch.extents[0].start)

    def finish(self, end: int, relocation: Relocation | None = None) -> Iterator[bytearray]:
        """Yield the last chunks; `end` is the sector past the covered range.

        `relocation` is one more, of the last sector, which is known only at the end of a stream.
        """
        if self._complete and not self._draft.regions:
            self._draft, self._complete = self._complete, None
        if self._complete:
            yield self._seal(self._complete, self._draft.first)
            self._complete = None
        if relocation:
            self._draft.relocations.append((len(self._draft.relocations), relocation))
        yield self._seal(self._draft, min(end, SECTORS_MAX), is_last=True)

    def _about(self, batch: Batch) -> list[tuple[int, Relocation]]:
        """Return the relocations that wait for the sectors of a batch."""
        end = batch.extents[-1].end
        return [
            each
            for each in itertools.takewhile(lambda waiting: waiting[1].sector < end, self._waiting)
            if any(extent.start <= each[1].sector < extent.end for extent in batch.extents)
        ]

    def _put(self, draft: _Draft, batch: Batch) -> None:
        """Add a batch to the draft, with its relocations; drop those of sectors not stored."""
        draft.relocations += self._about(batch)
        while self._waiting and self._waiting[0][1].sector < batch.extents[-1].end:
            self._waiting.popleft()
        draft.add(batch)

    def _fill_up(self, draft: _Draft, batch: Batch) -> Batch:
        """Put as much of the batch into the draft as fits; return the rest, deflated."""
        if draft.room() < _TOO_LITTLE_ROOM:
            return batch
        for share in _SPLIT_SHARES:
            count = int(batch.sectors * draft.room() / len(batch.deflated) * share)
            first, rest = batch.split(count)
            first = self._deflater.deflate(first)
            if first.extents and len(first.deflated) <= draft.room():
                self._put(draft, first)
                return self._deflater.deflate(rest)
        return batch

    def _turn_page(self, start: int) -> Iterator[bytearray]:
        """Close the draft; the free space up to the next data, if any, is still its own."""
        if self._complete:
            yield self._seal(self._complete, self._draft.first)
        self._complete, self._draft = self._draft, self._new_draft(start)

    def _new_draft(self, start: int) -> _Draft:
        return _Draft(start, digest=None if self._sector_size == SECTOR else new_digest())

    def _seal(self, draft: _Draft, last: int, *, is_last: bool = False) -> bytearray:
        size = len(_STREAM_START) + draft.used + len(_STREAM_END) + _CHECKSUM_SIZE
        header = ChunkHeader(
            version=self._version,
            size=size,
            index=self.chunks,
            first=draft.first,
            last=last,
            regions=tuple(draft.regions),
            relocations=tuple(relocation for _, relocation in sorted(draft.relocations)),
            security=self._security,
        )
        chunk = bytearray().join(
            (
                header.pack(),
                _STREAM_START,
                *draft.parts,
                _STREAM_END,
                draft.adler.to_bytes(_CHECKSUM_SIZE, "big"),
                bytes(STREAM_MAX - size),
            )
        )
        require_whole(header)
        self.chunks += 1
        seal = Seal(
            image_id=self._image_id,
            index=header.index,
            total=self.chunks if is_last else 0,
            is_last=is_last,
            data_check=draft.crc,
            untrue=tuple(draft.untrue),
            sector_size=self._sector_size,
            digest=draft.digest.digest() if draft.digest else b"",
        )
        seal_chunk(chunk, seal)
        return chunk
