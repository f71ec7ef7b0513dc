"""Where a chunk's relocations point: what depends on the slice, and where an image ends.

Each says where in the image something is that must be changed for the slice it is restored to;
one kind says that the image ends inside a sector. Source: the format of Emulab's imagezip.
"""

from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import SECTOR, ChunkHeader, Relocation

NONE, FREEBSD_LABEL, OPENBSD_LABEL, LILO_ADDRESS, LILO_MAP, LILO_CHECKSUM, SHORT_SECTOR = range(7)

LILO_TABLE = 1024
LILO_TABLE_BEFORE_CHECKSUM = 990
_LENGTHS = {
    FREEBSD_LABEL: 148 + 16 * 16,
    OPENBSD_LABEL: 148 + 16 * 16,
    LILO_ADDRESS: 5,
    LILO_MAP: 102 * 5,
}

Range = tuple[int, int]


def short_end(header: ChunkHeader) -> int | None:
    """Return the byte where the image ends inside a sector; None where it ends with one."""
    for relocation in header.relocations:
        if relocation.kind == SHORT_SECTOR:
            return relocation.sector * SECTOR + relocation.size
    return None


def window(header: ChunkHeader, relocation: Relocation) -> Range | None:
    """Return which bytes of the chunk's data it is about, None where it is about none of them."""
    at = _position(header, relocation)
    if at is not None and relocation.kind in _LENGTHS:
        return at, at + _LENGTHS[relocation.kind]
    if at is not None and relocation.kind == LILO_CHECKSUM:
        start = at - LILO_TABLE_BEFORE_CHECKSUM
        if start >= 0 and start + LILO_TABLE <= header.data_sectors * SECTOR:
            return start, start + LILO_TABLE
    return None


def check_relocations(header: ChunkHeader) -> None:
    """Raise DamagedChunk where a relocation points beyond the data of its chunk."""
    size = header.data_sectors * SECTOR
    for number, relocation in enumerate(header.relocations):
        if relocation.kind == SHORT_SECTOR:
            last = header.regions[-1].end - 1 if header.regions else -1
            if relocation.sector != last or not 0 < relocation.size <= SECTOR:
                raise DamagedChunk(
                    header.index,
                    f"says that the image ends {relocation.size} bytes into sector "
                    f"{relocation.sector}, its last one is {last}",
                )
        elif (about := window(header, relocation)) and about[1] > size:
            raise DamagedChunk(header.index, f"relocation {number} points beyond its data")


def _position(header: ChunkHeader, relocation: Relocation) -> int | None:
    """Return where in the chunk's data the relocation points, None if not in it."""
    before = 0
    for region in header.regions:
        if region.start <= relocation.sector < region.end:
            return (before + relocation.sector - region.start) * SECTOR + relocation.offset
        before += region.size
    return None
