"""The header of a chunk: what its first 4096 bytes say, in versions 1 to 4.

An image is a row of chunks of exactly 1,048,576 bytes: a header area of 4096 bytes, then one
zlib stream (RFC 1950), then zeros. All integers are little-endian, all positions are in sectors
of 512 bytes. Source: the format of Emulab's imagezip.

====== ===== ============= ============ =====================================================
offset type  field         versions     meaning
====== ===== ============= ============ =====================================================
0      u32   magic         1 2 3 4      0x69696969 + (version - 1)
4      u32   size          1 2 3 4      bytes of the stream that follows the header area
8      i32   index         1 2 3 4      number of the chunk, from 0
12     i32   total         1            number of chunks; 0 in later versions
16     i32   area          1 2 3 4      size of the header area, 4096
20     i32   region count  1 2 3 4
24     u32   first         . 2 3 4      first sector covered, free space included
28     u32   last          . 2 3 4      sector past the covered range
32     i32   reloc count   . 2 3 4
36     u16   cipher        . . . 4      0 none, 1 Blowfish-CBC
38     u16   checksum type . . . 4      0 none, 1 SHA1; 0x8000: signed
40     32 B  IV            . . . 4
72     256 B checksum      . . . 4      a signature, 64 bytes used
328    16 B  image id      . . . 4      a UUID, the same in all chunks
====== ===== ============= ============ =====================================================

The regions follow (u32 start, u32 size, ascending), then the relocations (4 u32 each). The
stream is the sectors of the regions in order.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from rhubarbe.ndz.errors import DamagedChunk, NotAnImage

SECTOR = 512
CHUNK = 1 << 20
HEADER_AREA = 4096
STREAM_MAX = CHUNK - HEADER_AREA
SECTORS_MAX = (1 << 32) - 1
"""Largest sector number that a region can reach."""

MAGIC = 0x69696969
VERSIONS = (1, 2, 3, 4)
WITH_SECURITY = 4
"""The version whose header says of signature, cipher and UUID."""
V4_SIZE = 344
SIGNED = 0x8000
SHA1 = 1
CHECKSUM_AT = 72
CHECKSUM_USED = 64
IV_USED = 8
"""Bytes of the fields for a signature and an initial vector that are used."""

REGIONS_MAX = (HEADER_AREA - 24) // 8
"""Most regions that the header area of a chunk has room for, in version 1."""

Buffer = bytes | bytearray | memoryview

_COMMON = struct.Struct("<IIiiii")
_COVERED = struct.Struct("<IIi")
_SECURITY = struct.Struct("<HH32s256s16s")
_REGION = struct.Struct("<II")
_RELOCATION = struct.Struct("<IIII")
_FIXED_SIZE = {1: 24, 2: 36, 3: 36, 4: V4_SIZE}


class Region(NamedTuple):
    """A run of sectors that a chunk stores."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """Sector past the run."""
        return self.start + self.size


class Relocation(NamedTuple):
    """A place in the data that depends on where the image is restored; `kind` 1 to 6."""

    kind: int
    sector: int
    offset: int
    size: int


NO_CHECKSUM = bytes(256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """The part of a header that only version 4 has."""

    cipher: int = 0
    checksum_type: int = 0
    iv: bytes = bytes(32)
    checksum: bytes = NO_CHECKSUM
    image_id: bytes = bytes(16)

    @property
    def signed(self) -> bool:
        """Whether the checksum is a signature."""
        return bool(self.checksum_type & SIGNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHeader:
    """One chunk as its header describes it; `first` and `last` bound the covered sectors."""

    version: int
    size: int
    index: int
    total: int = 0
    first: int
    last: int
    regions: tuple[Region, ...]
    relocations: tuple[Relocation, ...] = ()
    security: Security = Security()

    @property
    def data_sectors(self) -> int:
        """Number of sectors that the chunk stores."""
        return sum(region.size for region in self.regions)

    @property
    def tables_end(self) -> int:
        """Offset past the last byte of the header area that the header itself uses."""
        return tables_end(self.version, len(self.regions), len(self.relocations))

    def pack(self) -> bytes:
        """Return the header area, 4096 bytes, padded with zeros."""
        if self.version == 1 and self.relocations:
            raise DamagedChunk(self.index, "version 1 has no relocations")
        parts = [
            _COMMON.pack(
                MAGIC + self.version - 1,
                self.size,
                self.index,
                self.total,
                HEADER_AREA,
                len(self.regions),
            )
        ]
        if self.version > 1:
            parts.append(_COVERED.pack(self.first, self.last, len(self.relocations)))
        if self.version == WITH_SECURITY:
            s = self.security
            parts.append(_SECURITY.pack(s.cipher, s.checksum_type, s.iv, s.checksum, s.image_id))
        parts.extend(_REGION.pack(*region) for region in self.regions)
        parts.extend(_RELOCATION.pack(*relocation) for relocation in self.relocations)
        area = b"".join(parts)
        if len(area) > HEADER_AREA:
            raise DamagedChunk(self.index, f"{len(self.regions)} regions do not fit its header")
        return area.ljust(HEADER_AREA, b"\0")


def tables_end(version: int, regions: int, relocations: int = 0) -> int:
    """Return how many bytes of the header area that many entries use."""
    return _FIXED_SIZE[version] + regions * _REGION.size + relocations * _RELOCATION.size


def version_of(area: Buffer, place: int = 0) -> int:
    """Return the version (1 to 4) that the magic says; raise NotAnImage, which names the chunk."""
    magic = int.from_bytes(bytes(area[:4]), "little")
    version = magic - MAGIC + 1
    if len(area) < HEADER_AREA or version not in VERSIONS:
        words = f"bad magic 0x{magic:08x}"
        raise NotAnImage(
            f"chunk {place}: {words}" if place else f"not an ndz image: {words} in chunk 0"
        )
    return version


def parse_header(area: Buffer, place: int) -> ChunkHeader:
    """Read the header of the chunk at `place` (from 0) from its header area.

    Raises NotAnImage for a bad magic, DamagedChunk for anything else that cannot be: a count
    that does not fit, regions that are empty, not ascending or outside of the covered range.
    """
    version = version_of(area, place)
    _, size, index, total, area_size, region_count = _COMMON.unpack_from(area)
    first, last, relocation_count = _COVERED.unpack_from(area, 24) if version > 1 else (0, 0, 0)
    if area_size != HEADER_AREA:
        raise DamagedChunk(place, f"header area of {area_size} bytes, not {HEADER_AREA}")
    if size > STREAM_MAX:
        raise DamagedChunk(place, f"claims {size} compressed bytes, more than {STREAM_MAX}")
    if not _counts_fit(version, region_count, relocation_count):
        raise DamagedChunk(
            place, f"{region_count} regions and {relocation_count} relocations do not fit"
        )
    regions_at = _FIXED_SIZE[version]
    relocations_at = tables_end(version, region_count)
    end = tables_end(version, region_count, relocation_count)
    regions = tuple(map(Region._make, _REGION.iter_unpack(area[regions_at:relocations_at])))
    header = ChunkHeader(
        version=version,
        size=size,
        index=index,
        total=total,
        first=first if version > 1 or not regions else regions[0].start,
        last=last if version > 1 or not regions else regions[-1].end,
        regions=regions,
        relocations=tuple(map(Relocation._make, _RELOCATION.iter_unpack(area[relocations_at:end]))),
        security=_parse_security(area) if version == WITH_SECURITY else Security(),
    )
    _check_regions(header, place)
    return header


def _counts_fit(version: int, regions: int, relocations: int) -> bool:
    return (
        regions >= 0
        and relocations >= 0
        and tables_end(version, regions, relocations) <= HEADER_AREA
    )


def _parse_security(area: Buffer) -> Security:
    cipher, checksum_type, iv, checksum, image_id = _SECURITY.unpack_from(area, 36)
    return Security(
        cipher=cipher, checksum_type=checksum_type, iv=iv, checksum=checksum, image_id=image_id
    )


def _check_regions(header: ChunkHeader, place: int) -> None:
    reach = header.first
    for region in header.regions:
        if region.size == 0:
            raise DamagedChunk(place, f"empty region at sector {region.start}")
        if region.start < reach:
            raise DamagedChunk(
                place, f"region at sector {region.start} begins before sector {reach}"
            )
        reach = region.end
    if reach > header.last:
        raise DamagedChunk(place, f"regions end at sector {reach}, past sector {header.last}")
