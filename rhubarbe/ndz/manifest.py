"""What the chunks of one image must be: a digest of each, one of its sectors, and its regions.

docs/MANIFEST.md has the layout. The manifest's own digest, which comes by a way that can be
trusted, proves it, and it proves each chunk that comes by one that cannot.
"""

import functools
import hashlib
import operator
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from rhubarbe.ndz.digests import ALGORITHMS, DIGEST_BYTES, Algorithm, digest
from rhubarbe.ndz.errors import BadManifest, ImageTooLarge
from rhubarbe.ndz.header import REGIONS_MAX, SECTORS_MAX, Buffer, Region

MANIFEST_MOST_BYTES = 64 << 20
"""What a reader takes at most, before and after inflating."""

MAGIC = b"NDZMANI\0"
VERSION = 1
Range = tuple[int, int]
NAMES = {Algorithm.BLAKE3: "blake3", Algorithm.BLAKE2B: "blake2b"}
UNDERSTOOD = f"manifest {VERSION}: " + " ".join(NAMES[each] for each in ALGORITHMS)
"""A line of `--version` of programs that take manifests; later ones may name more algorithms."""

_HEADER = struct.Struct("<8sHHIII")
_DIGESTS = 2 * DIGEST_BYTES
# zlib may add some bytes to what it cannot deflate
_ROOM = MANIFEST_MOST_BYTES - _HEADER.size - (1 << 16)
_LEAST = 4  # numbers of a chunk without regions
_MORE = 0x80  # the top bit of a byte, where more bytes of a number follow
_UNIT_MAX_LOG = 7
_SHIFTS_END = 35  # a number has five bytes of seven bits at most


@dataclass(frozen=True, slots=True)
class Vouched:
    """One chunk as it must be.

    `chunk` is the digest of its 1,048,576 bytes; `sectors` of the inflated data of its regions, one
    after the other, as the image has it: relative to the slice, before relocations, and before a
    table is made to fit another disk. `first` and `last` bound what it covers, in sectors of 512
    bytes, as all positions.
    """

    chunk: bytes
    sectors: bytes
    regions: tuple[Region, ...]
    first: int
    last: int


class ManifestMaker:
    """Makes the manifest of an image whose chunks are told in order."""

    def __init__(self, algorithm: Algorithm = ALGORITHMS[0]) -> None:
        self.algorithm = algorithm
        self._packer = zlib.compressobj()
        self._digests = bytearray()
        self._numbers: list[bytes] = []
        self._chunks = self._size = self._reach = 0

    def add(self, vouched: Vouched) -> None:
        """Tell the next chunk; raise ImageTooLarge where no reader would take the manifest."""
        numbers = _pack(vouched, self._reach)
        self._reach = vouched.last
        self._chunks += 1
        self._size += len(numbers)
        if self._size + self._chunks * _DIGESTS > _ROOM:
            raise ImageTooLarge(
                f"chunk {self._chunks - 1}: the manifest of so many chunks and regions would have "
                f"more than {MANIFEST_MOST_BYTES} bytes"
            )
        self._digests += vouched.chunk + vouched.sectors
        self._numbers.append(self._packer.compress(numbers))

    def finish(self) -> bytes:
        """Return the manifest, once all chunks were told."""
        header = _HEADER.pack(MAGIC, VERSION, self.algorithm, self._chunks, self._size, 0)
        return b"".join([header, self._digests, *self._numbers, self._packer.flush()])


class Manifest:
    """What the chunks of one image must be; `covered` is the sector past the last covered one.

    `data_end` is the sector past the last one that is stored.
    """

    def __init__(self, digests: bytes, numbers: bytes, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.chunks = len(digests) // _DIGESTS
        self.data_end = 0
        self._digests = digests
        self._numbers = numbers
        self._starts = array("I")
        self._reaches = array("I")
        reach = at = 0
        for index in range(self.chunks):
            self._starts.append(at)
            self._reaches.append(reach)
            (_, reach), regions, at = _unpack(numbers, at, reach, index)
            self.data_end = regions[-1].end if regions else self.data_end
        if at != len(numbers):
            raise BadManifest(f"damaged: {len(numbers) - at} bytes follow its {self.chunks} chunks")
        self.covered = reach

    @classmethod
    def parse(cls, data: bytes, digest: str | bytes | None) -> "Manifest":
        """Read a manifest that must have this digest; without one, its bytes are trusted.

        Raises BadManifest, and nothing else, where it has another or cannot be one.
        """
        if len(data) > MANIFEST_MOST_BYTES:
            raise BadManifest(f"more than {MANIFEST_MOST_BYTES} bytes")
        if digest is not None and manifest_digest(data) != _hexadecimal(digest):
            raise BadManifest("not the one whose digest was given: of another image, or forged")
        chunks, algorithm, size = _parse_header(data)
        end = _HEADER.size + chunks * _DIGESTS
        return cls(data[_HEADER.size : end], _inflate(memoryview(data)[end:], size), algorithm)

    def vouched(self, index: int) -> Vouched:
        """Return what one chunk must be; raise BadManifest where the image has no such chunk."""
        if not 0 <= index < self.chunks:
            raise BadManifest(f"the image has {self.chunks} chunks, no chunk {index}")
        start, reach = self._starts[index], self._reaches[index]
        (first, last), regions, _ = _unpack(self._numbers, start, reach, index)
        chunk, sectors = self._digest(index, 0), self._digest(index, DIGEST_BYTES)
        return Vouched(chunk, sectors, regions, first, last)

    def vouches(self, index: int, chunk: Buffer) -> bool:
        """Whether these are the bytes of that chunk."""
        if not 0 <= index < self.chunks:
            return False
        return self._digest(index, 0) == digest(self.algorithm, chunk)

    def _digest(self, index: int, offset: int) -> bytes:
        start = index * _DIGESTS + offset
        return self._digests[start : start + DIGEST_BYTES]


def manifest_digest(data: bytes) -> str:
    """Return the digest of a manifest as it is sent: BLAKE2b-256, 64 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _hexadecimal(digest: str | bytes) -> str:
    return digest.hex() if isinstance(digest, bytes) else digest.strip().lower()


def _parse_header(data: bytes) -> tuple[int, Algorithm, int]:
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise BadManifest("not a manifest")
    _, version, algorithm, chunks, size, rest = _HEADER.unpack_from(data)
    if version != VERSION:
        raise BadManifest(f"made by a newer version: its layout is {version}, not {VERSION}")
    if rest:
        raise BadManifest(f"made by a newer version, or damaged: {rest} where 0 must be")
    if algorithm not in set(Algorithm):
        raise BadManifest(f"made by a newer version: its digests are of kind {algorithm}")
    if algorithm not in ALGORITHMS:
        raise BadManifest("its digests are BLAKE3, for which the Python module blake3 is needed")
    _refuse_counts(chunks, size)
    return chunks, Algorithm(algorithm), size


def _refuse_counts(chunks: int, size: int) -> None:
    if not chunks:
        raise BadManifest("damaged: it is of no chunk at all")
    if size < chunks * _LEAST:
        raise BadManifest(f"damaged: {size} bytes cannot hold the regions of {chunks} chunks")
    if chunks * _DIGESTS + size > _ROOM:
        raise BadManifest(f"{chunks} chunks, regions of {size} bytes: more than is taken")


def _inflate(stream: memoryview, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        numbers = inflater.decompress(stream, size + 1)
    except zlib.error as error:
        raise BadManifest(f"damaged: {error}") from None
    if len(numbers) != size or not inflater.eof or inflater.unused_data:
        raise BadManifest(f"not whole: its regions do not take the {size} bytes that it says")
    return numbers


def _pack(vouched: Vouched, reach: int) -> bytes:
    """Return what follows from where the chunk before it ended, in the largest unit that fits."""
    lengths = [vouched.first - reach]
    reach = vouched.first
    for region in vouched.regions:
        lengths += (region.start - reach, region.size)
        reach = region.end
    lengths.append(vouched.last - reach)
    ones = functools.reduce(operator.or_, lengths, 1 << _UNIT_MAX_LOG)
    unit_log = (ones & -ones).bit_length() - 1
    packed = bytearray((unit_log,))
    _put(packed, len(vouched.regions))
    for length in lengths:
        _put(packed, length >> unit_log)
    return bytes(packed)


def _put(packed: bytearray, number: int) -> None:
    while number >= _MORE:
        packed.append(number & 0x7F | _MORE)
        number >>= 7
    packed.append(number)


def _unpack(
    packed: bytes, at: int, reach: int, index: int
) -> tuple[Range, tuple[Region, ...], int]:
    """Read what is said of a chunk at a byte: what it covers, its regions; the byte past it."""
    cursor = _Cursor(packed, at)
    numbers = iter(cursor)
    try:
        unit_log, count, lead = next(numbers), next(numbers), next(numbers)
        if unit_log > _UNIT_MAX_LOG:
            raise BadManifest(f"chunk {index}: lengths in units of 2^{unit_log} sectors")
        if count > REGIONS_MAX:
            raise BadManifest(f"chunk {index}: {count} regions, no chunk has so many")
        first = reach = reach + (lead << unit_log)
        regions = []
        for _ in range(count):
            start = reach + (next(numbers) << unit_log)
            regions.append(Region(start, next(numbers) << unit_log))
            reach = regions[-1].end
        last = reach + (next(numbers) << unit_log)
    except StopIteration:
        raise BadManifest(f"chunk {index}: cut short") from None
    if last > SECTORS_MAX:
        raise BadManifest(f"chunk {index}: ends at sector {last}, beyond the last there can be")
    if not all(region.size for region in regions):
        raise BadManifest(f"chunk {index}: an empty region")
    return (first, last), tuple(regions), cursor.at


class _Cursor:
    """Reads the numbers that begin at a byte."""

    def __init__(self, records: bytes, at: int) -> None:
        self.at = at
        self._records = records

    def __iter__(self) -> Iterator[int]:
        shift = number = 0
        for byte in memoryview(self._records)[self.at :]:
            self.at += 1
            number |= (byte & 0x7F) << shift
            if byte < _MORE:
                yield number
                shift = number = 0
            elif (shift := shift + 7) >= _SHIFTS_END:
                return
