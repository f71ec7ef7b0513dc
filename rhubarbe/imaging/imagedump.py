"""The program that says what is in an image, and whether it is whole."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from rhubarbe.imaging.census import Census
from rhubarbe.imaging.commandline import CIPHER, CommandLine, Option, Program, say
from rhubarbe.imaging.describing import (
    describe_check,
    print_chunks,
    print_json,
    print_map,
    print_summary,
    print_title,
    warn_of_strays,
)
from rhubarbe.imaging.devices import STDOUT, refuse_same
from rhubarbe.imaging.errors import TargetError, UsageError
from rhubarbe.imaging.imagefile import STDIN, ImageFile
from rhubarbe.imaging.output import PARTIAL, Output, open_output
from rhubarbe.ndz.arrangement import words_on_rest
from rhubarbe.ndz.check import ImageChecker, ImageSummary, check_file
from rhubarbe.ndz.digests import ALGORITHMS, Algorithm
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
from rhubarbe.ndz.manifest import ManifestMaker, manifest_digest
from rhubarbe.start import write_no_more

PROGRAM = Program(
    name="imagedump",
    usage="[options] IMAGE|-...",
    purpose="Say what is in images; the exit status is the number of bad ones.",
    options=[
        Option("c", "check", "inflate every chunk, check seals; names the first bad chunk"),
        Option("", "manifest", "check one image, write its manifest, print its digest", "FILE|-"),
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
    refused={
        "C": "what the original prints then is not documented; --check inflates every chunk, and"
        " compares it with its seal",
        "H": "what the original prints then is not documented; --json has what the headers say",
        **dict.fromkeys("ekE", f"{CIPHER}; what is not encrypted is shown without a key"),
    },
)


def main(argv: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    return PROGRAM.run(argv, _work)


def _work(line: CommandLine) -> int:
    if not line.arguments:
        raise UsageError("which image?")
    _refuse_useless(line)
    is_checked = line.has("check") or line.has("manifest")
    inspect = _check if is_checked else _quiet if line.has("quiet") else _dump
    bad = 0
    for path in line.arguments:
        try:
            inspect(line, path)
        except (NdzError, OSError) as error:
            if isinstance(error, BrokenPipeError) and not line.has("manifest"):
                write_no_more()  # who read this has had enough, which is no fault of the image
                return 1
            bad += 1
            if not line.has("quiet"):
                say(_one_line(path, error))
    return bad


def _refuse_useless(line: CommandLine) -> None:
    """Raise UsageError where an option would do nothing."""
    if line.has("manifest") and len(line.arguments) > 1:
        raise UsageError("--manifest is of one image")
    if line.has("blake2b") and not line.has("manifest"):
        raise UsageError("--blake2b is of a manifest: --manifest is needed with it")
    for name in ("details", "map"):
        if line.has(name) and (line.has("check") or line.has("manifest")):
            raise UsageError(f"--{name} does not go with --check or --manifest")


def _one_line(path: str, error: NdzError | OSError) -> str:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    name = "standard input" if path == STDIN else path
    return text if text.startswith(name) else f"{name}: {text}"


def _quiet(_line: CommandLine, path: str) -> None:
    with _opened(path) as image:
        next(_headers(image))


def _check(line: CommandLine, path: str) -> None:
    algorithm = Algorithm.BLAKE2B if line.has("blake2b") else ALGORITHMS[0]
    wanted = ManifestMaker(algorithm) if line.has("manifest") else None
    digest = None
    with _opened(path) as image, _place_of_manifest(line, image) as place:
        if wanted is None and image.is_file and image.arrange().remarks:
            _check_arranged(line, image)
            return
        if image.is_file and path != STDIN:
            summary = check_file(path, manifest=wanted)
        else:
            summary = _check_stream(image, wanted)
        if wanted and place:
            manifest = wanted.finish()
            place.write(manifest)
            digest = manifest_digest(manifest)
    if not line.has("quiet"):
        _say_good(line, path, summary, digest)


def _say_good(line: CommandLine, path: str, summary: ImageSummary, digest: str | None) -> None:
    text = digest or describe_check(path, summary)
    if line.has("json"):
        proof = {"manifest_digest": digest} if digest else {}
        text = json.dumps({"image": path, "good": True, **asdict(summary), **proof})
    is_taken = digest and line.text("manifest") in STDOUT
    print(text, file=sys.stderr if is_taken else sys.stdout)


@contextmanager
def _opened(path: str) -> Iterator[ImageFile]:
    """Open an image, once: who writes into a pipe ends when that is closed."""
    image = ImageFile(path)
    try:
        yield image
    finally:
        image.close()


@contextmanager
def _place_of_manifest(line: CommandLine, image: ImageFile) -> Iterator[Output | None]:
    """Open where the manifest goes, if one is wanted; raise TargetError for image or device."""
    if not line.has("manifest"):
        yield None
        return
    place = line.text("manifest")
    if place not in STDOUT and Path(place).is_block_device():
        raise TargetError(f"{place}: is a disk, and no place for a manifest")
    refuse_same(image.descriptor, image.name, place, place + PARTIAL)
    with open_output(place) as output:
        yield output


def _check_arranged(line: CommandLine, image: ImageFile) -> None:
    """Check each image of a file by itself, and say what is odd about the file."""
    chunks, images = image.chunks(), image.arrangement.images
    summaries = [_check_chunks(islice(chunks, len(each)), None) for each in images]
    for number, summary in enumerate(summaries, 1):
        which = f" (image {number} of {len(images)})" if len(images) > 1 else ""
        if not line.has("quiet"):
            _say_good(line, image.name + which, summary, None)
    for remark in image.arrangement.remarks:
        if not line.has("quiet"):
            say(f"WARNING: {image.name}: {remark}; imageunzip takes it, other readers may not")


def _check_stream(image: ImageFile, manifest: ManifestMaker | None) -> ImageSummary:
    summary = _check_chunks(image.chunks(), manifest)
    if image.rest:
        raise TruncatedImage(f"chunk {summary.chunks}: none, {words_on_rest(image.rest)}")
    return summary


def _check_chunks(chunks: Iterator[bytearray], manifest: ManifestMaker | None) -> ImageSummary:
    checker = ImageChecker(manifest)
    for chunk in chunks:
        checker.feed(chunk)
    return checker.finish()


def _headers(image: ImageFile) -> Iterator[ChunkHeader]:
    """Yield the header of each chunk, at least one; raise NdzError."""
    if image.is_file:
        areas: Iterator[Buffer] = (
            image.read(place, HEADER_AREA) for place in range(max(image.count, 1))
        )
    else:
        areas = image.chunks()
    place = -1
    for place, area in enumerate(areas):
        if place == 0:
            _check_version(image.name, area)
        yield parse_header(area, place)
    if place < 0:
        raise TruncatedImage("the image is empty")


def _check_version(name: str, area: Buffer) -> None:
    magic = int.from_bytes(area[:4], "little")
    if magic - MAGIC + 1 not in VERSIONS:
        raise NdzError(f"{name}: bad version {magic:x}")


def _dump(line: CommandLine, path: str) -> None:
    with _opened(path) as image:
        headers = list(_headers(image))
        size = image.size if image.is_file else len(headers) * CHUNK
        if image.rest:
            say(f"WARNING: {image.name}: {image.rest} bytes follow the last whole chunk")
    statistics = Census()
    for header in headers:
        statistics.add(header)
    statistics.finish()
    if line.has("json"):
        print_json(path, size, headers)
        return
    print_title(path, size, headers)
    warn_of_strays(headers)
    depth = len(line.values.get("details", []))
    if depth:
        print_chunks(headers, with_regions=depth > 1)
    if line.has("map"):
        print_map(headers)
    print_summary(statistics, size)
