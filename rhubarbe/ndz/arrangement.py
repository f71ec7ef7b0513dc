"""How chunks stand in an image file: in order, or in an order that other writers leave them in.

Chunks are numbered, so a file with one image has it whole in whatever order its chunks are; several
images may follow each other; and bytes that are no chunk may follow the last one. Who reads a file
by the arrangement of it reads all of that as one image in its order.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rhubarbe.ndz.check import ImageChecker, open_chunk
from rhubarbe.ndz.errors import NdzError, TruncatedImage
from rhubarbe.ndz.header import (
    CHUNK,
    HEADER_AREA,
    MAGIC,
    VERSIONS,
    Buffer,
    ChunkHeader,
    parse_header,
)
from rhubarbe.ndz.mark import MARK, SEAL_AT
from rhubarbe.ndz.rows import ChunkRow

IMAGES_MAX = 64
"""Most images that one file may have."""

_MAGICS = [(MAGIC + version - 1).to_bytes(4, "little") for version in VERSIONS]
_INDEX = slice(8, 12)
_UUID = slice(328, 344)
_SEAL_ID = slice(SEAL_AT + 16, SEAL_AT + 32)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Where in the file the chunks of each image are, in its order; what follows the last of them.

    `is_apart` says that no image covers what another does, not even as free space.
    """

    images: Sequence[Sequence[int]]
    rest: int = 0
    is_apart: bool = True

    @property
    def remarks(self) -> list[str]:
        """What is odd about it, a line each."""
        found = []
        if len(self.images) > 1:
            found.append(f"{len(self.images)} images one after the other, taken as one")
        if any(place > after for image in self.images for place, after in pairwise(image)):
            found.append("its chunks are out of order")
        if self.rest:
            found.append(words_on_rest(self.rest))
        return found


def words_on_rest(rest: int) -> str:
    """Say that what follows the last chunk is left out."""
    return f"{rest} bytes follow the last chunk, and are left out"


def looks_cut(rest: Buffer) -> bool:
    """Whether bytes that are less than a chunk may be the start of one."""
    return any(magic.startswith(bytes(rest[:4])) for magic in _MAGICS)


def arrange(row: ChunkRow) -> Arrangement:
    """Look how the chunks stand in a file; raise NdzError where they are no whole images.

    Nothing but their numbers is read where they are in order and nothing follows. Else all of the
    file is read, and inflated: what is odd is taken only if it is sound from end to end.
    """
    if row.rest and (not row.count or looks_cut(row.read(row.count, 4))):
        raise _cut_short(row)
    found = _Finding(row)
    try:
        images = found.images()
    except TruncatedImage as error:
        raise (_cut_short(row) if row.rest else error) from None
    return Arrangement(images, row.rest, found.are_apart(images))


def _cut_short(row: ChunkRow) -> TruncatedImage:
    return TruncatedImage(f"chunk {row.count}: cut short, {row.rest} bytes of {CHUNK}")


class _Finding:
    """Finds the images in a file."""

    def __init__(self, row: ChunkRow) -> None:
        self._row = row
        self._numbers = [self._number(place) for place in range(row.count)]

    def _number(self, place: int) -> int:
        """Return a chunk's number; raise NdzError at the first that is none: the rest is no image.

        A disk that is none may be large, and slow to read.
        """
        start = self._row.read(place, _INDEX.stop)
        if start[:4] not in _MAGICS:
            parse_header(self._row.header_area(place), place)  # raises
        return int.from_bytes(start[_INDEX], "little")

    def images(self) -> list[Sequence[int]]:
        """Return where the chunks of each image are; raise NdzError."""
        count = len(self._numbers)
        misplaced = [place for place, number in enumerate(self._numbers) if place != number]
        if not misplaced and not self._row.rest:
            return [range(count)]
        self._header(0)  # what is no image at all is told so, and not by how many it may hold
        groups = self._gather() if misplaced else [{place: place for place in range(count)}]
        try:
            images = [self._whole(places) for places in groups]
        except TruncatedImage:
            for place in misplaced[:1]:
                open_chunk(self._row.read(place), place)  # raises, and says what is wrong with it
            raise
        self._refuse_overlap(images)
        # In the order of the disk: the first one has its tables, and a pipe takes no other.
        return sorted(images, key=lambda image: next(self._runs(image), (0, 0)))

    def are_apart(self, images: Sequence[Sequence[int]]) -> bool:
        """Whether images, in the order of the disk, cover nothing twice."""
        if len(images) == 1:
            return True
        ends = [(self._header(image[0]).first, self._header(image[-1]).last) for image in images]
        return all(before[1] <= after[0] for before, after in pairwise(ends))

    def _gather(self) -> list[dict[int, int]]:
        """Return place by number of the chunks that go together, at most `IMAGES_MAX` times."""
        by_kind: dict[bytes, list[dict[int, int]]] = {}
        images: list[dict[int, int]] = []
        for place, number in enumerate(self._numbers):
            same_kind = by_kind.setdefault(self._kind(place), [])
            if not same_kind or number in same_kind[-1]:
                if len(images) == IMAGES_MAX:
                    raise NdzError(f"more than {IMAGES_MAX} images")
                same_kind.append({})
                images.append(same_kind[-1])
            same_kind[-1][number] = place
        return images

    def _kind(self, place: int) -> bytes:
        """Return what the chunks of one image have in common."""
        area = self._row.read(place, HEADER_AREA)
        version, uuid = area[:4], area[_UUID] if area[:4] == _MAGICS[-1] else b""
        return version + uuid + (area[_SEAL_ID] if area[SEAL_AT:].startswith(MARK) else b"")

    def _whole(self, places: dict[int, int]) -> Sequence[int]:
        """Return the places of an image's chunks in order; raise NdzError where it is not whole."""
        for number in range(len(places)):
            if number not in places:
                raise TruncatedImage(f"chunk {number}: missing")
        in_order = [places[number] for number in range(len(places))]
        checker = ImageChecker()
        for place in in_order:
            checker.feed(self._row.read(place))
        checker.finish()
        return in_order

    def _header(self, place: int) -> ChunkHeader:
        return parse_header(self._row.read(place, HEADER_AREA), place)

    def _runs(self, image: Sequence[int]) -> Iterator[tuple[int, int]]:
        for place in image:
            for region in self._header(place).regions:
                yield region.start, region.end

    def _refuse_overlap(self, images: list[Sequence[int]]) -> None:
        """Raise NdzError where a sector is in two images: which of them is meant, nothing says."""
        runs = heapq.merge(*map(self._runs, images)) if len(images) > 1 else iter(())
        reach = 0
        for start, end in runs:
            if start < reach:
                raise NdzError(
                    f"{len(images)} images one after the other, and sector {start} is in more than "
                    "one of them"
                )
            reach = end
