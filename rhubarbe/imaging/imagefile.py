"""An image as a row of chunks, from a file or a stream."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from rhubarbe.imaging.errors import ImagingError
from rhubarbe.imaging.fitting import ImageExtent
from rhubarbe.imaging.relocations import data_end
from rhubarbe.ndz.arrangement import Arrangement, arrange, looks_cut
from rhubarbe.ndz.check import CheckedChunk, ChunkBounds, check_kind, open_chunk, read_header
from rhubarbe.ndz.errors import DamagedChunk, TruncatedImage, UnsupportedImage
from rhubarbe.ndz.header import CHUNK, HEADER_AREA, SECTOR, ChunkHeader, parse_header
from rhubarbe.ndz.inflate import inflate
from rhubarbe.ndz.rows import ChunkRow

STDIN = "-"


class ImageFile:
    """An image as chunks, from a file or a stream; `count` is 0 where it is not known.

    What its device cannot read is asked for up to `retries` times more.
    """

    def __init__(self, path: str, retries: int = 0) -> None:
        self.name = "standard input" if path == STDIN else path
        self.descriptor = 0 if path == STDIN else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        mode = os.fstat(self.descriptor).st_mode
        if stat.S_ISDIR(mode):
            self.close()
            raise ImagingError(f"{self.name}: is a directory")
        self.is_file = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        self._row = ChunkRow(self.descriptor, 0)
        if self.is_file:  # what others read of a standard input before us is not ours
            start = os.lseek(self.descriptor, 0, os.SEEK_CUR)
            self._row = ChunkRow.of(self.descriptor, start, retries)
        self.size, self.count = self._row.size, self._row.count
        self.arrangement = Arrangement([range(self.count)])
        self._places: Sequence[int] = range(self.count)
        self.rest = self._row.rest

    def close(self) -> None:
        """Close the file."""
        if self.descriptor:
            os.close(self.descriptor)

    def arrange(self) -> Arrangement:
        """Look how the chunks stand in a file, and read them in their order from now on.

        Raises NdzError where they are no whole images, as far as that can be seen.
        """
        self.arrangement = arrange(self._row)
        self._places = [place for image in self.arrangement.images for place in image]
        return self.arrangement

    def read(self, place: int, count: int = CHUNK) -> bytes:
        """Return the first bytes of one chunk of a file."""
        return self._row.read(self._places[place] if place < self.count else place, count)

    def extent(self) -> ImageExtent | None:
        """Return how far the image reaches, by its headers; None for a stream, or without any.

        Raises NdzError where these are not the headers of one image, in its order.
        """
        extents = [self._extent_of(image) for image in self.arrangement.images if image]
        return _reach_of(extents) if extents else None

    def _extent_of(self, image: Sequence[int]) -> ImageExtent:
        data = covered = 0
        first = before = None
        for number, place in enumerate(image):
            header = read_header(self._row.header_area(place), number)
            first, before = first or header, before or header
            if number:
                self._check_order(header, before, first)
            if header.security.cipher:
                raise UnsupportedImage(
                    f"{self.name}: encrypted with an obsolete cipher (Blowfish): "
                    "only the programs that made this image can read it"
                )
            data = max(data, data_end(header))
            covered, before = max(covered, header.last), header
        return ImageExtent(data, covered)

    def _check_order(self, header: ChunkHeader, before: ChunkHeader, first: ChunkHeader) -> None:
        """Raise DamagedChunk where a header is not of the image of those before it.

        Where seals tell that one of them is damaged, it is that chunk which is named.
        """
        try:
            check_kind(CheckedChunk(header, None), CheckedChunk(first, None))
            ChunkBounds.of(header).check_follows(ChunkBounds.of(before))
        except DamagedChunk:
            for place in sorted({0, before.index, header.index}):
                open_chunk(self.read(place), place)
            raise

    def data_beyond(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield (place, byte past the last one that is not zero) of chunks with such beyond `size`.

        Reads no more than the headers, and inflates the chunks that reach so far.
        """
        for place in range(self.count):
            area = self.read(place, HEADER_AREA)
            header = parse_header(area, place)
            if header.regions and header.regions[-1].end * SECTOR > size:
                chunk = self.read(place)
                if (end := _last_data(chunk, header)) > size:
                    yield place, end

    def pieces(self) -> Iterator[memoryview]:
        """Yield all bytes as they stand in the file, whatever they are; one buffer has them all."""
        piece, place = bytearray(CHUNK), 0
        while filled := self._fill(piece, place):
            yield memoryview(piece)[:filled]
            place += 1

    def picked(self, numbers: Iterable[int]) -> Iterator[tuple[int, bytearray]]:
        """Yield (number, chunk) for chunks of a file, in the order that is asked for."""
        for number in numbers:
            chunk = bytearray(CHUNK)
            self._fill(chunk, number)
            yield number, chunk

    def chunks(self) -> Iterator[bytearray]:
        """Yield the chunks in order; raise TruncatedImage where the last one is cut short.

        What follows the last chunk of a stream, and is no start of one, is counted as `rest`.
        """
        place = 0
        while not self.is_file or place < self.count or not place:
            chunk = bytearray(CHUNK)
            if (filled := self._fill(chunk, place)) == 0:
                return
            if filled < CHUNK:
                if place and not self.is_file and not looks_cut(chunk[:filled]):
                    self.rest = filled
                    return
                raise TruncatedImage(
                    f"{self.name}: chunk {place}: cut short, {filled} bytes of {CHUNK}"
                )
            yield chunk
            place += 1

    def _fill(self, chunk: bytearray, place: int) -> int:
        view, filled = memoryview(chunk), 0
        if self.is_file:
            return self._row.read_into(self._places[place] if place < self.count else place, view)
        while filled < CHUNK and (got := os.readv(self.descriptor, [view[filled:]])):
            filled += got
        return filled


def _reach_of(extents: list[ImageExtent]) -> ImageExtent:
    return ImageExtent(
        max(extent.data_bytes for extent in extents), max(extent.covered for extent in extents)
    )


def _last_data(chunk: bytes, header: ChunkHeader) -> int:
    """Return the byte on the disk past the last one that is not zero, 0 if all are."""
    last = at = 0
    for piece in inflate(chunk, header):
        if stripped := len(piece.rstrip(b"\0")):
            last = at + stripped
        at += len(piece)
    for region in header.regions:
        if last <= region.size * SECTOR:
            return region.start * SECTOR + last if last else 0
        last -= region.size * SECTOR
    return 0
