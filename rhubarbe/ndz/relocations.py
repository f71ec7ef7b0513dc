"""Where a chunk's relocations point: what depends on the slice, and where an image ends.

Each says where in the image something is that must be changed for the slice it is restored to;
one kind says that the image ends inside a sector. Source: the format of Emulab's imagezip.
"""

from rhubarbe.ndz.errors import DamagedChunk, NdzError
from rhubarbe.ndz.header import SECTOR, ChunkHeader, Relocation

NONE, FREEBSD_LABEL, OPENBSD_LABEL, LILO_ADDRESS, LILO_MAP, LILO_CHECKSUM, SHORT_SECTOR = range(7)

LILO_TABLE = 2 * SECTOR
"""LILO's table of what it can boot: two whole sectors, with a checksum over both."""

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
    at = position(header, relocation)
    if at is not None and relocation.kind in _LENGTHS:
        return at, at + _LENGTHS[relocation.kind]
    if at is not None and relocation.kind == LILO_CHECKSUM:
        return _table_around(header, relocation, at)
    return None


def _table_around(header: ChunkHeader, relocation: Relocation, at: int) -> Range | None:
    """Return where the table is whose checksum is at a place, None where not all of it is there.

    The checksum is its first word (LILO 21.4), or one in its second sector, behind the entries.
    """
    sector, inside = divmod(relocation.sector * SECTOR + relocation.offset, SECTOR)
    first, inside = (sector - 1, inside + SECTOR) if inside else (sector, 0)
    halves = [position(header, Relocation(LILO_CHECKSUM, first + n, 0, SECTOR)) for n in (0, 1)]
    start, middle = halves
    if start is None or middle != start + SECTOR or at != start + inside:
        return None
    return None if inside % 2 else (start, start + LILO_TABLE)


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


def require_whole(header: ChunkHeader) -> None:
    """Raise NdzError where a relocation is about more than the data of its chunk."""
    size = header.data_sectors * SECTOR
    for relocation in header.relocations:
        about = window(header, relocation)
        if (about is None and relocation.kind == LILO_CHECKSUM) or (about and about[1] > size):
            raise NdzError(
                f"sector {relocation.sector}: what depends on the slice there is in two chunks, so "
                "that no relocation makes it true; with -N it is stored as it is"
            )


def position(header: ChunkHeader, relocation: Relocation) -> int | None:
    """Return the byte of the chunk's data to which the relocation points, None if not in it."""
    before = 0
    for region in header.regions:
        if region.start <= relocation.sector < region.end:
            return (before + relocation.sector - region.start) * SECTOR + relocation.offset
        before += region.size
    return None
