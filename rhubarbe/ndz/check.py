"""Whether an image is whole and undamaged: chunk by chunk as it arrives, or a file on all cores."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rhubarbe.ndz.digests import Algorithm, digest, digester
from rhubarbe.ndz.errors import CheckStopped, DamagedChunk, NdzError, TruncatedImage
from rhubarbe.ndz.header import CHUNK, SECTOR, Buffer, ChunkHeader, parse_header
from rhubarbe.ndz.inflate import inflate
from rhubarbe.ndz.manifest import ManifestMaker, Vouched
from rhubarbe.ndz.relocations import check_relocations, short_end
from rhubarbe.ndz.rows import ChunkRow
from rhubarbe.ndz.seal import Seal, SectorsCheck, read_seal


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """A checked image; `sectors` is the end of the covered range, `data_end` of the last data.

    `sector_size` is that of the logical sectors of the disk, in bytes.
    """

    size_bytes: int = 0
    chunks: int = 0
    version: int = 0
    sectors: int = 0
    data_sectors: int = 0
    data_end: int = 0
    is_sealed: bool = False
    is_signed: bool = False
    sector_size: int = SECTOR
    untrue_sectors: int = 0

    @property
    def data_bytes(self) -> int:
        """Bytes that the image stores, inflated."""
        return self.data_sectors * SECTOR


@dataclass(frozen=True, slots=True)
class CheckedChunk:
    """What is kept of a chunk once it was checked by itself; `vouched` is for a manifest."""

    header: ChunkHeader
    seal: Seal | None
    vouched: Vouched | None = None


def check_chunk(chunk: Buffer, place: int, algorithm: Algorithm | None = None) -> CheckedChunk:
    """Check one chunk by itself: header, seal, stream; raise NdzError naming it by its place.

    With an algorithm, what a manifest says of it is made on the way.
    """
    checked = open_chunk(chunk, place)
    sectors = SectorsCheck(checked.seal)
    made = digester(algorithm) if algorithm else None
    for piece in inflate(chunk, checked.header):
        sectors.update(piece)
        if made:
            made.update(piece)
    sectors.finish(place)
    if made is None or algorithm is None:
        return checked
    h, whole = checked.header, digest(algorithm, chunk)
    vouched = Vouched(whole, made.digest(), h.regions, h.first, h.last)
    return replace(checked, vouched=vouched)


def read_header(area: Buffer, place: int) -> ChunkHeader:
    """Read the header of the chunk at `place`, which must be of that place; raise NdzError."""
    header = replace(parse_header(area, place), index=place)
    if (index := int.from_bytes(area[8:12], "little")) != place:
        raise DamagedChunk(place, f"says that it is chunk {index}: repeated, missing or foreign")
    check_relocations(header)
    return header


def open_chunk(chunk: Buffer, place: int) -> CheckedChunk:
    """Check header and seal of the chunk at `place`; raise NdzError naming it."""
    if len(chunk) != CHUNK:
        raise TruncatedImage(f"chunk {place}: cut short, {len(chunk)} bytes of {CHUNK}")
    header = read_header(chunk, place)
    return CheckedChunk(header, read_seal(chunk, header))


def check_kind(checked: CheckedChunk, first: CheckedChunk) -> None:
    """Raise DamagedChunk where the headers of two chunks are not of one image."""
    header, expected = checked.header, first.header
    if header.version != expected.version:
        raise DamagedChunk(header.index, f"version {header.version}, not {expected.version}")
    if header.version == 1 and header.total != expected.total:
        raise DamagedChunk(header.index, f"of {header.total} chunks, not {expected.total}")
    if header.security.image_id != expected.security.image_id:
        raise DamagedChunk(header.index, "belongs to another image (its UUID differs)")


def check_seal(checked: CheckedChunk, first: CheckedChunk) -> None:
    """Raise DamagedChunk where the seals of two chunks are not of one image."""
    place, seal = checked.header.index, checked.seal
    if (seal is None) != (first.seal is None):
        raise DamagedChunk(place, "belongs to another image (only one of them is sealed)")
    if seal is None or first.seal is None:
        return
    if seal.image_id != first.seal.image_id:
        raise DamagedChunk(place, "belongs to another image (its seal says so)")
    if seal.sector_size != first.seal.sector_size:
        raise DamagedChunk(place, f"is of a disk with sectors of {seal.sector_size} bytes")
    if seal.index != place:
        raise DamagedChunk(place, f"was sealed as chunk {seal.index}")
    if seal.is_last and seal.total != place + 1:
        raise DamagedChunk(place, f"was sealed as the last of {seal.total} chunks")


class ChunkBounds(NamedTuple):
    """What a chunk covers of the disk, and whether the image ends inside its last sector."""

    place: int
    first: int
    last: int
    is_short: bool

    @classmethod
    def of(cls, header: ChunkHeader) -> "ChunkBounds":
        """Return those of a chunk."""
        return cls(header.index, header.first, header.last, short_end(header) is not None)

    def check_follows(self, before: "ChunkBounds") -> None:
        """Raise DamagedChunk where this is not all behind a chunk of a lower number."""
        if self.first < before.last:
            raise DamagedChunk(
                self.place,
                f"covers sectors from {self.first}, chunk {before.place} up to {before.last}",
            )
        if before.is_short:
            raise DamagedChunk(self.place, f"the image ends before it, in chunk {before.place}")


class ImageChecker:
    """Checks the chunks of one image in their order, as they arrive.

    With a `manifest`, each chunk is added to it once checked: it is complete if the image is good.
    """

    def __init__(self, manifest: ManifestMaker | None = None) -> None:
        self._manifest = manifest
        self._first: CheckedChunk | None = None
        self._latest: CheckedChunk | None = None
        self._summary = ImageSummary()

    def feed(self, chunk: Buffer) -> CheckedChunk:
        """Check the next chunk (1,048,576 bytes); raise NdzError, one line that names it."""
        algorithm = self._manifest.algorithm if self._manifest else None
        checked = check_chunk(chunk, self._summary.chunks, algorithm)
        self.add(checked)
        return checked

    def add(self, checked: CheckedChunk) -> None:
        """Take a chunk that was checked by itself, and check that it follows what came before."""
        if self._first is None:
            self._first = checked
        check_kind(checked, self._first)
        check_seal(checked, self._first)
        self._check_order(checked)
        if self._manifest and checked.vouched:
            self._manifest.add(checked.vouched)
        self._latest = checked
        self._count(checked)

    def finish(self) -> ImageSummary:
        """Say that no chunk follows; raise TruncatedImage where one should have."""
        if self._latest is None:
            raise TruncatedImage("the image is empty")
        count = self._summary.chunks
        header, seal = self._latest.header, self._latest.seal
        if seal and not seal.is_last:
            raise TruncatedImage(f"chunk {count}: missing, the image ends before its last chunk")
        if header.version == 1 and header.total not in {0, count}:
            raise TruncatedImage(f"chunk {count}: missing, {header.total} chunks were made")
        return self._summary

    def _check_order(self, checked: CheckedChunk) -> None:
        header = checked.header
        if self._latest and self._latest.seal and self._latest.seal.is_last:
            raise DamagedChunk(header.index, "follows the last chunk of the image")
        if self._latest:
            ChunkBounds.of(header).check_follows(ChunkBounds.of(self._latest.header))

    def _count(self, checked: CheckedChunk) -> None:
        header, seal, before = checked.header, checked.seal, self._summary
        self._summary = ImageSummary(
            size_bytes=before.size_bytes + CHUNK,
            chunks=before.chunks + 1,
            version=header.version,
            sectors=header.last,
            data_sectors=before.data_sectors + header.data_sectors,
            data_end=header.regions[-1].end if header.regions else before.data_end,
            is_sealed=seal is not None,
            is_signed=header.security.signed,
            sector_size=seal.sector_size if seal else SECTOR,
            untrue_sectors=before.untrue_sectors
            + (sum(run.size for run in seal.untrue) if seal else 0),
        )


def check_file(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    stop: threading.Event | None = None,
    manifest: ManifestMaker | None = None,
) -> ImageSummary:
    """Check a whole image file on all cores, and make its manifest on the way.

    Raises NdzError, one line that names the file and the first chunk that is damaged, and
    OSError where the file cannot be read. Once `stop` is set, no further chunk is begun, and
    CheckStopped is raised.
    """
    stop = stop or threading.Event()
    try:
        with Path(path).open("rb", buffering=0) as image:
            row = ChunkRow.of(image.fileno())
            checker = ImageChecker(manifest)
            task = _FileCheck(row, stop, manifest)
            for checked in _check_all(task, threads or _cores()):
                checker.add(checked)
            if row.rest:
                raise TruncatedImage(f"chunk {row.count}: cut short, {row.rest} bytes of {CHUNK}")
            return checker.finish()
    except NdzError as error:
        error.args = (f"{os.fspath(path)}: {error}",)
        raise


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _check_all(task: "_FileCheck", threads: int) -> Iterator[CheckedChunk]:
    """Yield the chunks in order, each checked by itself; raise at the first damaged one."""
    # Daemon threads, since a read that never ends must not keep the process from ending.
    workers = [
        threading.Thread(target=task.work, daemon=True) for _ in range(min(threads, task.count))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if task.stop.is_set():
        raise CheckStopped("the check was stopped")
    for result in task.results:
        if isinstance(result, Exception):
            raise result
        yield result


class _FileCheck:
    """What the threads that check one file share."""

    def __init__(
        self, row: ChunkRow, stop: threading.Event, manifest: ManifestMaker | None
    ) -> None:
        self.count = row.count
        self.stop = stop
        self.results: list[CheckedChunk | NdzError | OSError] = []
        self._row = row
        self._algorithm = manifest.algorithm if manifest else None
        self._by_place: dict[int, CheckedChunk | NdzError | OSError] = {}
        self._places = iter(range(row.count))
        self._lock = threading.Lock()

    def work(self) -> None:
        """Check chunk after chunk until there is none left, one is damaged, or `stop` is set."""
        buffer = memoryview(bytearray(CHUNK))
        while (place := self._next_place()) is not None and not self.stop.is_set():
            try:
                result: CheckedChunk | NdzError | OSError = self._check(buffer, place)
            except (NdzError, OSError) as error:
                result = error
            self._put(place, result)

    def _check(self, buffer: memoryview, place: int) -> CheckedChunk:
        filled = self._row.read_into(place, buffer)
        return check_chunk(buffer[:filled], place, self._algorithm)

    def _next_place(self) -> int | None:
        with self._lock:
            return next(self._places, None)

    def _put(self, place: int, result: CheckedChunk | NdzError | OSError) -> None:
        with self._lock:
            self._by_place[place] = result
            if isinstance(result, Exception):
                self._places = iter(())  # nothing after the first damage matters
            while (upcoming := self._by_place.pop(len(self.results), None)) is not None:
                self.results.append(upcoming)
