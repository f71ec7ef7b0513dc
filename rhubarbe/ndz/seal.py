"""The seal of a chunk: 64 bytes at the end of the header area, where others see only padding.

All integers are little-endian; the whole description is in docs/SEAL.md.

====== ===== ========================================================================
offset type  field (offset 0 is byte 4032 of the chunk)
====== ===== ========================================================================
0      8 B   mark, ``NDZSEAL`` and a zero byte
8      u32   CRC-32 of the chunk's 1,048,576 bytes, this field itself as zeros
12     u16   version, 1 or 2
14     u16   flags; bit 0: this is the last chunk of the image; version 2, bits 8 to 11: log2 of
             (bytes of a logical sector of the disk / 512)
16     16 B  image id, random, the same in all the chunks of an image
32     u32   index of the chunk, from 0
36     u32   number of chunks of the image, in the last chunk; else 0
40     u32   CRC-32 of the inflated sectors, in the order of the regions
44     u32   number of untrue ranges; they stand right before the seal
48     16 B  zeros; version 2: BLAKE2b-128 of the inflated sectors, in the order of the regions
====== ===== ========================================================================

An untrue range (u32 first sector, u32 sectors) could not be read when the image was made: its
sectors are stored as zeros. Version 2 is for disks whose logical sectors are not of 512 bytes;
whatever their size, all positions and counts are in units of 512 bytes.
"""

import hashlib
import struct
from dataclasses import dataclass

from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import (
    HEADER_AREA,
    SECTOR,
    V4_SIZE,
    Buffer,
    ChunkHeader,
    Region,
)
from rhubarbe.ndz.inflate import engine
from rhubarbe.ndz.mark import MARK, SEAL_AT

LAST = 1
DIGEST_SIZE = 16
BALANCE_SIZE = 4
"""Bytes at the end of each chunk that its stream leaves free."""

_SIZE_SHIFT, _SIZE_MASK = 8, 0xF
_MAX_SIZE_LOG = 3
_SEAL = struct.Struct("<8sIHH16sIIII16s")
_RANGE = struct.Struct("<II")
_AT = SEAL_AT
_CHECK_AT = _AT + 8
_AFTER_CHECK = _CHECK_AT + 4
_NO_CHECK = bytes(4)
_ALL_BITS = 0xFFFFFFFF
_POLYNOMIAL = 0xEDB88320

TABLE_ROOM = _AT - V4_SIZE
"""Bytes of the header area that regions, relocations and untrue ranges may fill together.

Counted from the end of the longest header, so that the seal fits whatever the version.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the seal of one chunk says; `data_check` is of the sectors as they must be on disk.

    So is `digest`, which only seals of version 2 have: those of disks whose logical sectors are of
    another size than 512 bytes.
    """

    image_id: bytes
    index: int
    total: int = 0
    is_last: bool = False
    data_check: int
    untrue: tuple[Region, ...] = ()
    sector_size: int = SECTOR
    digest: bytes = b""

    @property
    def version(self) -> int:
        """Version of the layout: images of common disks keep the one that all readers know."""
        return 2 if self.digest else 1


class SectorsCheck:
    """Checks the inflated sectors of a chunk, piece by piece, against its seal, if it has one."""

    def __init__(self, seal: Seal | None) -> None:
        self._seal = seal
        self._check = 0
        self._digest = new_digest() if seal and seal.digest else None

    def update(self, piece: Buffer) -> None:
        """Take the next piece."""
        if self._seal:
            self._check = engine.crc32(piece, self._check)
        if self._digest:
            self._digest.update(piece)

    def finish(self, place: int) -> None:
        """Raise DamagedChunk, naming the chunk, where the sectors are not those sealed."""
        if self._seal and (
            self._check != self._seal.data_check
            or (self._digest and self._digest.digest() != self._seal.digest)
        ):
            raise DamagedChunk(place, "its sectors are not those that were sealed")


def new_digest() -> hashlib.blake2b:
    """Return what makes the digest of a chunk's sectors."""
    return hashlib.blake2b(digest_size=DIGEST_SIZE)


def table_size(regions: int, relocations: int = 0, untrue: int = 0) -> int:
    """Return how much of TABLE_ROOM that many entries take."""
    return 8 * regions + 16 * relocations + 8 * untrue


def seal_chunk(chunk: bytearray, seal: Seal) -> None:
    """Write the seal into a complete chunk of 1,048,576 bytes."""
    start = _AT - len(seal.untrue) * _RANGE.size
    for number, untrue in enumerate(seal.untrue):
        _RANGE.pack_into(chunk, start + number * _RANGE.size, *untrue)
    _SEAL.pack_into(
        chunk,
        _AT,
        MARK,
        0,
        seal.version,
        (LAST if seal.is_last else 0) | _size_log(seal.sector_size) << _SIZE_SHIFT,
        seal.image_id,
        seal.index,
        seal.total,
        seal.data_check,
        len(seal.untrue),
        seal.digest,
    )
    chunk[_CHECK_AT:_AFTER_CHECK] = engine.crc32(chunk).to_bytes(4, "little")


def keep_seal_true(chunk: bytearray) -> None:
    """Set the last bytes of a sealed chunk, all of them padding, so that its seal is true again.

    A signature is of the seal too, and the seal's checksum is of the signature too: so the checksum
    is made first, and what nothing is signed of makes up for the signature.
    """
    target = int.from_bytes(chunk[_CHECK_AT:_AFTER_CHECK], "little")
    chunk[-BALANCE_SIZE:] = bytes(BALANCE_SIZE)
    state = _crc(memoryview(chunk)[:-BALANCE_SIZE]) ^ _ALL_BITS
    wanted = target ^ _ALL_BITS
    for _ in range(BALANCE_SIZE * 8):  # the steps of a CRC-32, backwards
        wanted = (wanted ^ _POLYNOMIAL) << 1 | 1 if wanted >> 31 else wanted << 1
    chunk[-BALANCE_SIZE:] = (state ^ wanted).to_bytes(BALANCE_SIZE, "little")


def _size_log(sector_size: int) -> int:
    return (sector_size // SECTOR).bit_length() - 1


def read_seal(chunk: Buffer, header: ChunkHeader) -> Seal | None:
    """Return the chunk's seal, or None where it has none; raise DamagedChunk.

    Damage is a header tail that is neither zeros nor a seal, a stream that is followed by
    anything but zeros, and a chunk whose bytes are not those that were sealed.
    """
    place = header.index
    view = memoryview(chunk)
    if bytes(view[_AT : _AT + len(MARK)]) != MARK:
        if any(view[header.tables_end : HEADER_AREA]):
            raise DamagedChunk(place, "the end of its header is neither empty nor a seal")
        return None
    _check_bytes(view, place)
    return _parse(view, header)


def _check_bytes(view: memoryview, place: int) -> None:
    if _crc(view) != int.from_bytes(view[_CHECK_AT:_AFTER_CHECK], "little"):
        raise DamagedChunk(place, "its bytes are not those that were sealed")


def _crc(view: memoryview) -> int:
    check = engine.crc32(view[:_CHECK_AT])
    check = engine.crc32(_NO_CHECK, check)
    return int(engine.crc32(view[_AFTER_CHECK:], check))


def _parse(view: memoryview, header: ChunkHeader) -> Seal:
    _, _, version, flags, image_id, index, total, data_check, untrue_count, digest = (
        _SEAL.unpack_from(view, _AT)
    )
    start = _AT - untrue_count * _RANGE.size
    size_log = flags >> _SIZE_SHIFT & _SIZE_MASK
    is_known = size_log <= (_MAX_SIZE_LOG if version == 2 else 0)  # noqa: PLR2004
    if version not in {1, 2} or not is_known:
        raise DamagedChunk(
            header.index,
            f"has a seal of version {version} with flags 0x{flags:x}, which this program "
            "does not know: a later one can read it",
        )
    if start < header.tables_end or any(view[header.tables_end : start]):
        raise DamagedChunk(header.index, "the end of its header is not empty before its seal")
    return Seal(
        image_id=image_id,
        index=index,
        total=total,
        is_last=bool(flags & LAST),
        data_check=data_check,
        untrue=tuple(map(Region._make, _RANGE.iter_unpack(view[start:_AT]))),
        sector_size=SECTOR << size_log,
        digest=digest if version == 2 else b"",  # noqa: PLR2004
    )
