"""What is said of an image, in the words of the original where it has some."""

import json
import sys

from rhubarbe.imaging.census import SIZES, Census
from rhubarbe.imaging.telling import tell
from rhubarbe.ndz.check import ImageSummary
from rhubarbe.ndz.header import (
    CHECKSUM_USED,
    IV_USED,
    SECTOR,
    SECTORS_MAX,
    WITH_SECURITY,
    ChunkHeader,
)
from rhubarbe.text import sanitise

_RELOCATIONS = {
    0: "NONE",
    1: "FBSDDISKLABEL",
    2: "OBSDDISKLABEL",
    3: "LILOSADDR",
    4: "LILOMAPSECT",
    5: "LILOCKSUM",
    6: "SHORTSECTOR",
}


def describe_check(path: str, summary: ImageSummary) -> str:
    """Return the line on an image that is whole."""
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


def print_title(path: str, size: int, headers: list[ChunkHeader]) -> None:
    """Print the first line: what the image is."""
    first = headers[0]
    text = f"{sanitise(path)}: {size} bytes, {len(headers)} chunks, version {first.version}"
    if first.security.checksum_type:
        signed = "signed " if first.security.signed else ""
        text += f", {signed}csum (0x{first.security.checksum_type:x})"
    if first.security.cipher:
        text += f", encrypted ({first.security.cipher})"
    print(text)


def print_chunks(headers: list[ChunkHeader], *, with_regions: bool) -> None:
    """Print a line for each chunk, and for each region, if asked for."""
    uuid = headers[0].security.image_id
    if any(uuid):
        print(f"  uuid: {uuid.hex()}")
    for place, header in enumerate(headers):
        _print_chunk(place, header, with_regions=with_regions)
    print()


def _print_chunk(place: int, header: ChunkHeader, *, with_regions: bool) -> None:
    relocations = f"{len(header.relocations)} relocs, " if header.relocations else ""
    last = max(header.last, 1) - 1  # of an empty image, too
    covered = "" if header.version == 1 else f"sector range [{header.first}-{last}], "
    print(
        f"  Chunk {place}: {header.size} compressed bytes, "
        f"{covered}{relocations}{len(header.regions)} regions"
    )
    _print_security(header)
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


def _print_security(header: ChunkHeader) -> None:
    security = header.security
    if security.checksum_type:
        print(f"    Checksum: 0x{security.checksum[:CHECKSUM_USED].hex()}")
    if security.cipher:
        print(f"    CipherIV: 0x{security.iv[:IV_USED].hex()}")


def warn_of_strays(headers: list[ChunkHeader]) -> None:
    """Warn of relocations that are not where their chunk is: a line a chunk."""
    for place, header in enumerate(headers):
        stray = [r for r in header.relocations if not header.first <= r.sector < header.last]
        if stray:
            more = f", and {len(stray) - 1} more" if len(stray) > 1 else ""
            tell(
                f"WARNING: chunk {place}: relocation at sector {stray[0].sector}{more}: outside of "
                f"its sector range [{header.first}-{header.last - 1}]\n"
            )


def print_map(headers: list[ChunkHeader]) -> None:
    """Print a line for each free (F) and each allocated (A) range; none for version 4."""
    if headers[0].version == WITH_SECURITY:  # as the original does: scripts read what it prints
        return
    reach = headers[0].first
    for region in (region for header in headers for region in header.regions):
        if region.start > reach:
            print(f"F: [{reach:08x}-{region.start - 1:08x}]")
        print(f"A: [{region.start:08x}-{region.end - 1:08x}]")
        reach = region.end
    if headers[-1].last > reach:
        print(f"F: [{reach:08x}-{headers[-1].last - 1:08x}]")


def print_summary(s: Census, size: int) -> None:
    """Print the figures of the whole image."""
    overhead = size - s.compressed
    share = 100 * overhead / max(size, 1)
    print(f"  {overhead} bytes of overhead/wasted space ({share:5.2f}% of image file)")
    print(
        f"  {s.regions.total} total regions: {s.regions.total / (s.chunks + 1):.1f}/"
        f"{s.regions.smallest}/{s.regions.largest} ave/min/max per chunk"
    )
    if s.relocations.count:
        print(f"  {s.relocations.count} relocations covering {s.relocations.total} bytes")
    # Version 1 says no range, and the original then prints what it began its search with.
    covered = f"{s.first}-{max(s.last, 1) - 1}" if s.version > 1 else f"{SECTORS_MAX}-0"
    print(f"  covered sector range: [{covered}]")
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


def print_json(path: str, size: int, headers: list[ChunkHeader]) -> None:
    """Print all of it as one JSON object."""
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
