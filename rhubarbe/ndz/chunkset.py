"""Whether chunks that come in any order, in several threads, are one whole image."""

import bisect
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Protocol

from rhubarbe.ndz.check import (
    CheckedChunk,
    ChunkBounds,
    check_kind,
    check_seal,
    open_chunk,
    read_header,
)
from rhubarbe.ndz.errors import DamagedChunk, TruncatedImage, UnvouchedChunk
from rhubarbe.ndz.header import Buffer, ChunkHeader
from rhubarbe.ndz.manifest import Manifest


class Chunks(Protocol):
    """Opens the chunks of one image, in any order, from several threads."""

    def open(self, chunk: Buffer, place: int) -> CheckedChunk:
        """Check all of the chunk at `place` but its stream; raise NdzError naming it."""

    def finish(self) -> None:
        """Say that no chunk follows; raise NdzError where the image is not whole."""


class VouchedChunks:
    """Chunks that a manifest vouches for: it says all that their seals could say."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._lock = threading.Lock()
        self._missing = set(range(manifest.chunks))

    def open(self, chunk: Buffer, place: int) -> CheckedChunk:
        """Read the header of the chunk at `place`; raise DamagedChunk if it is not the one."""
        check_vouched(self._manifest, chunk, place)
        with self._lock:
            if place not in self._missing:
                raise DamagedChunk(place, "is there twice")
            self._missing.discard(place)
        return CheckedChunk(read_header(chunk, place), None)

    def finish(self) -> None:
        """Raise TruncatedImage naming the first chunk of the manifest that is missing."""
        if self._missing:
            raise TruncatedImage(f"chunk {min(self._missing)}: missing, the manifest has it")


def check_vouched(manifest: Manifest, chunk: Buffer, place: int) -> None:
    """Raise DamagedChunk where a manifest does not vouch for the chunk at `place`."""
    if place >= manifest.chunks:
        raise DamagedChunk(place, f"one too many, the manifest has {manifest.chunks} chunks")
    if not manifest.vouches(place, chunk):
        raise UnvouchedChunk(place, "not the one that the manifest vouches for")


class SeveralImages:
    """Opens the chunks of images that follow each other, numbered through; `sizes` in chunks."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._starts = [0, *accumulate(sizes)]
        self._images = [ChunkSet() for _ in sizes]

    def open(self, chunk: Buffer, place: int) -> CheckedChunk:
        """Check all of the chunk at `place` but its stream; raise NdzError."""
        image = bisect.bisect_right(self._starts, place) - 1
        opened = self._images[image].open(chunk, place - self._starts[image])
        return replace(opened, header=replace(opened.header, index=place))

    def finish(self) -> None:
        """Say that no chunk follows; raise NdzError where one of the images is not whole."""
        for image in self._images:
            image.finish()


class ChunkSet:
    """Checks what chunks of one image say of each other, in any order, from several threads.

    For a reader that inflates them itself: it need not inflate them twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[int] = []  # ascending, and what each of them covers
        self._bounds: list[ChunkBounds] = []
        self._first: CheckedChunk | None = None
        self._total: int | None = None

    def open(self, chunk: Buffer, place: int) -> CheckedChunk:
        """Check header and seal of the chunk at `place`; raise NdzError naming it."""
        opened = open_chunk(chunk, place)
        header, seal = opened.header, opened.seal
        with self._lock:
            if self._first is None:
                self._first = opened
            check_kind(opened, self._first)
            check_seal(opened, self._first)
            self._insert(place, header)
            if seal and seal.is_last:
                self._total = seal.total
        return opened

    def finish(self) -> None:
        """Say that no chunk follows; raise TruncatedImage naming the first that is missing."""
        if self._first is None:
            raise TruncatedImage("the image is empty")
        header, count = self._first.header, len(self._seen)
        made = header.total if header.version == 1 else 0
        total = max(self._seen[-1] + 1, made)
        if self._first.seal is not None:
            total = self._total or max(total, count + 1)
        missing = next((at for at, place in enumerate(self._seen) if at != place), count)
        if missing < total:
            raise TruncatedImage(f"chunk {missing}: missing")
        if count > total or made not in {0, count}:
            raise DamagedChunk(count - 1, "follows the last chunk of the image")

    def _insert(self, place: int, header: ChunkHeader) -> None:
        at = bisect.bisect_left(self._seen, place)
        bounds = ChunkBounds.of(header)
        if at < len(self._seen):
            if self._seen[at] == place:
                raise DamagedChunk(place, "is there twice")
            self._bounds[at].check_follows(bounds)
        if at:
            bounds.check_follows(self._bounds[at - 1])
        self._seen.insert(at, place)
        self._bounds.insert(at, bounds)
