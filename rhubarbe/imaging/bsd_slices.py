"""BSD slices: the parts into which a label divides them, and a label that is true anywhere."""

import struct
from dataclasses import dataclass, field

from rhubarbe.disk import bsdlabel
from rhubarbe.disk.bsdlabel import Label, has_label, read_label, xor_words
from rhubarbe.disk.errors import PartitionError
from rhubarbe.disk.ranges import Range
from rhubarbe.disk.reading import ReadAt
from rhubarbe.imaging.filesystems.marks import identify
from rhubarbe.ndz.header import Relocation
from rhubarbe.ndz.relocations import FREEBSD_LABEL, OPENBSD_LABEL

_USUAL_PARTITIONS = 8
"""As many are told of by a relocation, whether the label has them or not: other writers say so."""


@dataclass(frozen=True, slots=True)
class Movable:
    """What of a slice depends on where it is.

    `patches` are sectors of the slice as they would be if it began at sector 0; `relocations` say
    what is to be done to them where the slice is restored. `remark` says what stays as it is.
    """

    patches: dict[int, bytes] = field(default_factory=dict)
    relocations: tuple[Relocation, ...] = ()
    remark: str = ""


def label_of_slice(read_at: ReadAt, sectors: int) -> Label | None:
    """Return the label of a slice of so many sectors that begins at byte 0, if it has one.

    A label counts where there is nothing else, or a filesystem of a BSD: it may be left over from
    what the partition was before. Raises PartitionError where it counts, and is damaged.
    """
    if not has_label(read_at) or set(identify(read_at, sectors)) - {"ufs"}:
        return None
    return read_label(read_at)


def parts_of_slice(read_at: ReadAt, start: int, sectors: int) -> list[tuple[str, Range]]:
    """Return letter and range of the parts of a slice, none where it is not divided.

    `start` is where on the disk it begins; the ranges are counted from there. Raises
    PartitionError where its label makes no sense.
    """
    label = label_of_slice(read_at, sectors)
    return label.inside(start, sectors) if label else []


def movable_label(read_at: ReadAt, start: int, sectors: int) -> Movable:
    """Return the label of the slice as it would be if the slice began at sector 0.

    A label that counts from the start of its slice, as FreeBSD writes them now, is true anywhere.
    """
    try:
        label = label_of_slice(read_at, sectors)
    except PartitionError:
        return Movable()
    if label is None or label.base(start, sectors) == 0:
        return Movable()
    is_openbsd = label.is_openbsd(sectors)
    kept = {bsdlabel.RAW, *range(bsdlabel.OPENBSD_OWN, bsdlabel.PARTITIONS_MAX)}
    moved = [
        number
        for number, (_, size) in enumerate(label.entries)
        if size and not (is_openbsd and number in kept)
    ]
    if label.first != 1 or not all(_is_inside(label.entries[n], start, sectors) for n in moved):
        return Movable(
            remark=f"its BSD label is stored as it is, true only where the slice begins at {start}"
        )
    data = bytearray(label.data)
    for number in moved:
        at = bsdlabel.ENTRIES + number * bsdlabel.ENTRY.size
        first, size = label.entries[number]
        data[at : at + 8] = struct.pack("<II", size, first - start)
    end = bsdlabel.ENTRIES + len(label.entries) * bsdlabel.ENTRY.size
    struct.pack_into("<H", data, bsdlabel.CHECKSUM, 0)
    struct.pack_into("<H", data, bsdlabel.CHECKSUM, xor_words(data[:end]))
    count = max(len(label.entries), _USUAL_PARTITIONS)
    length = bsdlabel.ENTRIES + count * bsdlabel.ENTRY.size
    kind = OPENBSD_LABEL if is_openbsd else FREEBSD_LABEL
    return Movable({label.first: bytes(data)}, (Relocation(kind, label.first, 0, length),))


def _is_inside(entry: tuple[int, int], start: int, sectors: int) -> bool:
    first, size = entry
    return start <= first and first + size <= start + sectors
