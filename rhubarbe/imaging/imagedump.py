"""The program that says what is in an image, and whether it is whole."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rhubarbe.imaging.census import SIZES, Census
from rhubarbe.imaging.commandline import CommandLine, Option, Program, say
from rhubarbe.imaging.devices import refuse_no_disk, refuse_same
from rhubarbe.imaging.errors import TargetError, UsageError
from rhubarbe.imaging.imagefile import STDIN, ImageFile
from rhubarbe.ndz.check import ImageChecker, ImageSummary, check_file
from rhubarbe.ndz.digests import ALGORITHMS, Algorithm
from rhubarbe.ndz.errors import NdzError
from rhubarbe.ndz.header import (
    CHUNK,
    HEADER_AREA,
    MAGIC,
    SECTOR,
    VERSIONS,
    ChunkHeader,
    parse_header,
)
from rhubarbe.ndz.manifest import ManifestMaker, manifest_digest
from rhubarbe.text import sanitise

PROGRAM = Program(
    name="imagedump",
    usage="[options] IMAGE|-...",
    purpose="Say what is in images; the exit status is the number of bad ones.",
    options=[
        Option("c", "check", "inflate every chunk, check seals; names the first bad chunk"),
        Option("", "manifest", "check one image, write its manifest, print its digest", "FILE"),
        Option("", "blake2b", "make the manifest for a Python that has no BLAKE3"),
        Option("d", "details", "a line for each chunk; given twice, for each region too"),
        Option("m", "map", "a line for each free and each allocated range"),
        Option("q", "quiet", "print nothing: only say by the exit status whether it is an image"),
        Option("", "json", "print one JSON object for each image"),
        Option("i", "ignore", "accepted, and ignored"),
        Option("h", "help", "print this"),
        Option("v", "version", "print the version"),
    ],
    epilogue="example: imagedump --check debian.ndz",
)

_RELOCATIONS = {
    0: "NONE",
    1: "FBSDDISKLABEL",
    2: "OBSDDISKLABEL",
    3: "LILOSADDR",
    4: "LILOMAPSECT",
    5: "LILOCKSUM",
    6: "SHORTSECTOR",
}


def main(argv: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    return PROGRAM.run(argv, _work)


def _work(line: CommandLine) -> int:
    if not line.arguments:
        raise UsageError("which image?")
    if line.has("manifest") and len(line.arguments) > 1:
        raise UsageError("--manifest is of one image")
    is_checked = line.has("check") or line.has("manifest")
    inspect = _check if is_checked else _quiet if line.has("quiet") else _dump
    bad = 0
    for path in line.arguments:
        try:
            inspect(line, path)
        except (NdzError, OSError) as error:
            bad += 1
            if not line.has("quiet"):
                say(_one_line(path, error))
    return bad


def _one_line(path: str, error: NdzError | OSError) -> str:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    name = "standard input" if path == STDIN else path
    return text if text.startswith(name) else f"{name}: {text}"


def _quiet(_line: CommandLine, path: str) -> None:
    next(_headers(path), None)


def _check(line: CommandLine, path: str) -> None:
    if line.has("manifest"):
        _refuse_place(line.text("manifest"), path)
    algorithm = Algorithm.BLAKE2B if line.has("blake2b") else ALGORITHMS[0]
    wanted = ManifestMaker(algorithm) if line.has("manifest") else None
    summary = _check_stream(wanted) if path == STDIN else check_file(path, manifest=wanted)
    if wanted:
        manifest = wanted.finish()
        _write(line.text("manifest"), manifest)
        print(manifest_digest(manifest))
    elif line.has("json"):
        print(json.dumps({"image": path, "good": True, **asdict(summary)}))
    elif not line.has("quiet"):
        print(_describe_check(path, summary))


def _refuse_place(place: str, image: str) -> None:
    """Raise TargetError where a manifest would be written over the image, or over a device."""
    refuse_no_disk(place)
    if Path(place).is_block_device():
        raise TargetError(f"{place}: is a disk, and no place for a manifest")
    if image != STDIN:
        with Path(image).open("rb") as file:
            refuse_same(file.fileno(), image, place)


def _write(place: str, manifest: bytes) -> None:
    try:
        Path(place).write_bytes(manifest)
    except OSError as error:
        raise TargetError(f"{place}: cannot be written: {error.strerror}") from error


def _check_stream(manifest: ManifestMaker | None) -> ImageSummary:
    checker = ImageChecker(manifest)
    image = ImageFile(STDIN)
    for chunk in image.chunks():
        checker.feed(chunk)
    return checker.finish()


def _describe_check(path: str, summary: ImageSummary) -> str:
    seal = "sealed" if summary.is_sealed else "not sealed"
    text = (
        f"{sanitise(path)}: good: {summary.size_bytes} bytes, {summary.chunks} chunks, {seal}, "
        f"{summary.data_bytes} bytes of data"
    )
    if summary.sector_size != SECTOR:
        text += f", of a disk with sectors of {summary.sector_size} bytes"
    if summary.untrue_sectors:
        text += f", {summary.untrue_sectors} sectors of which could not be read"
    return text + ("; its signatures were not checked" if summary.is_signed else "")


def _headers(path: str) -> Iterator[ChunkHeader]:
    image = ImageFile(path)
    try:
        if not image.is_file:
            for place, chunk in enumerate(image.chunks()):
                yield parse_header(chunk, place)
        for place in range(max(image.count, 1) if image.is_file else 0):
            area = os.pread(image.descriptor, HEADER_AREA, place * CHUNK)
            if place == 0:
                _check_version(path, area)
            yield parse_header(area, place)
    finally:
        image.close()


def _check_version(path: str, area: bytes) -> None:
    magic = int.from_bytes(area[:4], "little")
    if magic - MAGIC + 1 not in VERSIONS:
        raise NdzError(f"{path}: bad version {magic:x}")


def _dump(line: CommandLine, path: str) -> None:
    headers = list(_headers(path))
    size = len(headers) * CHUNK if path == STDIN else os.stat(path).st_size  # noqa: PTH116
    statistics = Census()
    for header in headers:
        statistics.add(header)
    statistics.finish()
    if line.has("json"):
        _print_json(path, size, headers)
        return
    _print_title(path, size, headers)
    depth = len(line.values.get("details", []))
    if depth:
        _print_chunks(headers, with_regions=depth > 1)
    if line.has("map"):
        _print_map(headers)
    _print_summary(statistics, size)


def _print_title(path: str, size: int, headers: list[ChunkHeader]) -> None:
    first = headers[0]
    text = f"{sanitise(path)}: {size} bytes, {len(headers)} chunks, version {first.version}"
    if first.security.checksum_type:
        signed = "signed " if first.security.signed else ""
        text += f", {signed}csum (0x{first.security.checksum_type:x})"
    if first.security.cipher:
        text += f", encrypted ({first.security.cipher})"
    print(text)


def _print_chunks(headers: list[ChunkHeader], *, with_regions: bool) -> None:
    uuid = headers[0].security.image_id
    if any(uuid):
        print(f"  uuid: {uuid.hex()}")
    for place, header in enumerate(headers):
        _print_chunk(place, header, with_regions=with_regions)
    print()


def _print_chunk(place: int, header: ChunkHeader, *, with_regions: bool) -> None:
    relocations = f"{len(header.relocations)} relocs, " if header.relocations else ""
    covered = "" if header.version == 1 else f"sector range [{header.first}-{header.last - 1}], "
    print(
        f"  Chunk {place}: {header.size} compressed bytes, "
        f"{covered}{relocations}{len(header.regions)} regions"
    )
    if not with_regions:
        return
    for number, region in enumerate(header.regions):
        print(f"    Region {number}: {region.size} sectors [{region.start}-{region.end - 1}]")
    for number, relocation in enumerate(header.relocations):
        name = _RELOCATIONS.get(relocation.kind, f"??{relocation.kind}??")
        last = relocation.offset + relocation.size
        print(
            f"    Reloc {number}: {name} sector {relocation.sector}, "
            f"offset {relocation.offset}-{last}"
        )


def _print_map(headers: list[ChunkHeader]) -> None:
    reach = headers[0].first
    for region in (region for header in headers for region in header.regions):
        if region.start > reach:
            print(f"F: [{reach:08x}-{region.start - 1:08x}]")
        print(f"A: [{region.start:08x}-{region.end - 1:08x}]")
        reach = region.end
    if headers[-1].last > reach:
        print(f"F: [{reach:08x}-{headers[-1].last - 1:08x}]")


def _print_summary(s: Census, size: int) -> None:
    overhead = size - s.compressed
    share = 100 * overhead / max(size, 1)
    print(f"  {overhead} bytes of overhead/wasted space ({share:5.2f}% of image file)")
    print(
        f"  {s.regions.total} total regions: {s.regions.total / (s.chunks + 1):.1f}/"
        f"{s.regions.smallest}/{s.regions.largest} ave/min/max per chunk"
    )
    if s.relocations.count:
        print(f"  {s.relocations.count} relocations covering {s.relocations.total} bytes")
    if s.version > 1:
        print(f"  covered sector range: [{s.first}-{max(s.last, 1) - 1}]")
    print(f"  {s.compressed} bytes of compressed data")
    data, whole = s.allocated.total, (s.last - s.first) * SECTOR
    ratio = max(s.compressed, 1)
    print(f"  {data / ratio:5.2f}x compression of allocated data ({data} bytes)")
    print(f"  {whole / ratio:5.2f}x compression of total known disk size ({whole} bytes)")
    if s.free.count:
        print(f"  {s.free.count} free ranges: {s.free}")
    print(f"  {s.allocated.count} allocated ranges: {s.allocated}")
    _print_sizes(s)


def _print_sizes(s: Census) -> None:
    print("  size distribution:")
    so_far = 0
    for slot, count in enumerate(s.sizes):
        if not count:
            continue
        so_far += count
        share = 100 * count / s.allocated.count
        if slot < len(SIZES):
            total = 100 * so_far / s.allocated.count
            print(f"    < {SIZES[slot]:4d}k bytes: {count:6d} {share:4.1f}% {total:4.1f}%")
        else:
            print(f"    >= {SIZES[-1]:3d}k bytes: {count:6d} {share:4.1f}%")


def _print_json(path: str, size: int, headers: list[ChunkHeader]) -> None:
    chunks = [
        {
            "index": header.index,
            "compressed": header.size,
            "first": header.first,
            "last": header.last,
            "regions": [[region.start, region.size] for region in header.regions],
            "relocations": [list(relocation) for relocation in header.relocations],
        }
        for header in headers
    ]
    first = headers[0]
    facts = {
        "image": path,
        "size": size,
        "version": first.version,
        "uuid": first.security.image_id.hex() if any(first.security.image_id) else None,
        "signed": first.security.signed,
        "cipher": first.security.cipher,
        "chunks": chunks,
    }
    json.dump(facts, sys.stdout)
    print()
