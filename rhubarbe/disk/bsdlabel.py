"""The BSD disklabel: the partitions that a slice of a disk is divided into.

Some systems count them from the start of the disk, some from that of the slice. All integers are
little-endian, as on the machines that have slices. Sources: FreeBSD's manual page disklabel(5), and
its header <sys/disklabel.h>.
"""

import itertools
import struct
from dataclasses import dataclass

from rhubarbe.disk.errors import PartitionError
from rhubarbe.disk.ranges import Range
from rhubarbe.disk.reading import SECTOR, ReadAt

MAGIC = (0x82564557).to_bytes(4, "little")
RAW = 2
"""Number of the partition `c`, which is the whole slice, or in OpenBSD the whole disk."""

OPENBSD_OWN = 8
"""From this number on OpenBSD lists what is in other slices."""

CHECKSUM, COUNT, ENTRIES = 136, 138, 148  # places in the label, in bytes
ENTRY = struct.Struct("<II8x")
PARTITIONS_MAX = 16
LETTERS = "abcdefghijklmnop"
_SECTOR_BYTES, _SECOND_MAGIC = 40, 132
_SECTOR_SIZES = (SECTOR, 4096)


@dataclass(frozen=True, slots=True)
class Label:
    """A label: its bytes, and (start, size) of each of its partitions, in sectors of 512 bytes.

    `first` is the sector of the slice that has it. A partition that is not there has no size.
    """

    first: int
    data: bytes
    entries: tuple[tuple[int, int], ...]

    def is_openbsd(self, sectors: int) -> bool:
        """Whether its `c` is more than a slice of so many sectors: all of a disk."""
        return len(self.entries) > RAW and self.entries[RAW][1] > sectors

    def base(self, start: int, sectors: int) -> int:
        """Return where it counts from: 0, or the start of the slice, as `c` says."""
        if self.is_openbsd(sectors):
            return start
        return self.entries[RAW][0] if len(self.entries) > RAW and self.entries[RAW][1] else start

    def inside(self, start: int, sectors: int) -> list[tuple[str, Range]]:
        """Return letter and range of each partition in the slice, ascending, from its start.

        Raises PartitionError where they overlap, or are neither inside nor outside.
        """
        base = self.base(start, sectors)
        found = []
        for number, (first, size) in enumerate(self.entries):
            low, high = first - base, first - base + size
            is_disk = first == 0 < base  # which NetBSD lists as `d`
            if number == RAW or size == 0 or is_disk or high <= 0 or low >= sectors:
                continue
            if low < 0 or high > sectors:
                raise PartitionError(f"its BSD partition {LETTERS[number]} is not inside of it")
            found.append((LETTERS[number], (low, high)))
        found.sort(key=lambda each: each[1])
        for (before, (_, end)), (after, (first, _)) in itertools.pairwise(found):
            if first < end:
                raise PartitionError(f"its BSD partitions {before} and {after} overlap")
        return found


def has_label(read_at: ReadAt) -> bool:
    """Whether what begins at byte 0 bears the mark of a label, in its second sector."""
    return any(read_at(size, len(MAGIC)) == MAGIC for size in _SECTOR_SIZES)


def read_label(read_at: ReadAt) -> Label | None:
    """Read the label of what begins at byte 0: in its second sector, of whatever size that is.

    Returns None where there is none; raises PartitionError where there is one that is damaged.
    """
    for sector_bytes in _SECTOR_SIZES:
        data = read_at(sector_bytes, SECTOR)
        if len(data) == SECTOR and data.startswith(MAGIC):
            return _parse(data, sector_bytes)
    return None


def _parse(data: bytes, sector_bytes: int) -> Label:
    (count,) = struct.unpack_from("<H", data, COUNT)
    (own_sector_bytes,) = struct.unpack_from("<I", data, _SECTOR_BYTES)
    end = ENTRIES + count * ENTRY.size
    is_sound = (
        data[_SECOND_MAGIC : _SECOND_MAGIC + 4] == MAGIC
        and own_sector_bytes == sector_bytes
        and count <= PARTITIONS_MAX
        and xor_words(data[:end]) == 0
    )
    if not is_sound:
        raise PartitionError("its BSD label is damaged")
    factor = sector_bytes // SECTOR
    entries = (ENTRY.unpack_from(data, at) for at in range(ENTRIES, end, ENTRY.size))
    return Label(
        first=factor,
        data=data,
        entries=tuple((start * factor, size * factor) for size, start in entries),
    )


def xor_words(data: bytes | bytearray, seed: int = 0) -> int:
    """Return the exclusive or of all words of 16 bits; of a sound label it is 0."""
    for (word,) in struct.iter_unpack("<H", data):
        seed ^= word
    return seed
