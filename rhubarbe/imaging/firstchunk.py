"""What the first chunk of an image tells of all of it: the table of the disk, and its sectors."""

from rhubarbe.disk.errors import PartitionError
from rhubarbe.disk.partitions import PartitionTable, gpt_sector_size, protective_entry, read_table
from rhubarbe.imaging.filesystems.marks import identify
from rhubarbe.ndz.errors import NdzError
from rhubarbe.ndz.header import SECTOR, Buffer, ChunkHeader, parse_header
from rhubarbe.ndz.inflate import inflate
from rhubarbe.ndz.seal import read_seal

_START = 4 << 20
"""Bytes of the first chunk's data that are looked at: tables and superblocks are in them."""

_ENDLESS = 1 << 62


class FirstChunk:
    """What the first chunk of an image tells of all of it: its table, and its disk's sectors."""

    def __init__(self, chunk: Buffer) -> None:
        self._header = parse_header(chunk, 0)
        self._pieces = _start_of(chunk, self._header)
        seal = read_seal(chunk, self._header)
        self.sector_size = seal.sector_size if seal else SECTOR
        if seal is None or not seal.digest:
            self.sector_size = gpt_sector_size(self.read_at) or SECTOR
        self.table = self._read_table()
        if self.table and self.table.scheme == "mbr" and self.table.end > self._header.last:
            # the boot code of a filesystem may look like an MBR
            self.table = None if identify(self.read_at) else self.table

    def read_at(self, offset: int, count: int) -> bytes:
        """Return bytes of the disk that is in the image, fewer where the chunk has no more."""
        found = bytearray()
        for start, data in self._pieces:
            if start <= offset < start + len(data):
                part = data[offset - start : offset - start + count]
                found += part
                offset += len(part)
                count -= len(part)
        return bytes(found)

    def _read_table(self) -> PartitionTable | None:
        try:
            return read_table(self.read_at, _ENDLESS, self.sector_size)
        except PartitionError:
            return None

    @property
    def is_gpt_damaged(self) -> bool:
        """Whether there should be a GPT, but the copy at the start of the disk is none."""
        return self.table is None and protective_entry(self.read_at(0, SECTOR)) is not None


def _start_of(chunk: Buffer, header: ChunkHeader) -> list[tuple[int, bytes]]:
    """Return (byte offset on the disk, data) of what a chunk begins with.

    Damage ends it here, and is found by who inflates all of it.
    """
    data = bytearray()
    try:
        for piece in inflate(chunk, header):
            data += piece
            if len(data) >= _START:
                break
    except NdzError:
        pass
    pieces, at = [], 0
    for region in header.regions:
        part = bytes(data[at : at + region.size * SECTOR])
        pieces.append((region.start * SECTOR, part))
        at += len(part)
    return pieces
