"""The manifest of an image: made while that is checked, and kept for the next load of it.

It is kept for the user who made it, in `state_dir`, by what the kernel says of the file. An image
whose manifest is kept is the file that was checked then, and is not read again; what has rotted on
the disk since, no node writes.
"""

import hashlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.errors import ImageError
from rhubarbe.ndz.digests import ALGORITHMS, Algorithm
from rhubarbe.ndz.errors import NdzError
from rhubarbe.ndz.manifest import (
    MANIFEST_MOST_BYTES,
    NAMES,
    Manifest,
    ManifestMaker,
    manifest_digest,
)
from rhubarbe.repository.opening import OpenImage
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.state import StateDirectory

MOST_KEPT = 32
PREFIX = "manifest-"
# Seconds: a file that was written to since may be written to again within the same tick of its
# times, which would not tell.
SETTLED = 2.0
READ_BY_OTHERS = 0o004


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """A manifest as it is sent; `kind` is the name of what its digests are made by."""

    content: bytes
    digest: str
    kind: str


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """An image that was checked: its bytes, the sector past its last data, and its manifest.

    `edition` tells, by that of the open image, whether it was changed since.
    """

    size: int
    data_end: int
    manifest: ImageManifest
    edition: tuple[int, int]


KINDS = tuple(NAMES[each] for each in ALGORITHMS)
"""The kinds that can be made here, the best first."""


def check(
    image: OpenImage, state_dir: Path, stop: threading.Event, kind: str = KINDS[0]
) -> CheckedImage:
    """Check an open image, unless that was done already; raises ImageError. For a thread."""
    algorithm = ALGORITHMS[KINDS.index(kind)]
    edition, status = image.edition, image.status
    name = _name(status, algorithm)
    if (found := _kept(state_dir, name)) and len(found[0]) > 0:
        content, parsed = found
        made = ImageManifest(content, manifest_digest(content), kind)
        return CheckedImage(status.st_size, parsed.data_end, made, edition)
    maker = ManifestMaker(algorithm)
    summary = image.check(stop, maker)
    content = maker.finish()
    if image.edition != edition:
        raise ImageError(f"{image.path}: was changed while it was checked")
    is_same = _name(image.status, algorithm) == name
    if is_same and status.st_mode & READ_BY_OTHERS and time.time() - status.st_ctime > SETTLED:
        _keep(state_dir, name, content)
    made = ImageManifest(content, manifest_digest(content), kind)
    return CheckedImage(summary.size_bytes, summary.data_end, made, edition)


def _name(status: os.stat_result, algorithm: Algorithm) -> str:
    """Return what the manifest of this very file, unchanged, is kept as."""
    known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    words = " ".join(map(str, (*known, int(algorithm))))
    return f"{PREFIX}{hashlib.blake2b(words.encode(), digest_size=16).hexdigest()}"


def _kept(state_dir: Path, name: str) -> tuple[bytes, Manifest] | None:
    """Return what was kept, with its digest before it; None where it is not there, or damaged."""
    try:
        with StateDirectory(state_dir).place_of(os.getuid()) as place:
            kept = place.read(name, MANIFEST_MOST_BYTES + 64, os.getuid())
        content = kept[64:]
        return content, Manifest.parse(content, kept[:64].decode("ascii", "replace"))
    except (OSError, NdzError):
        return None


def _keep(state_dir: Path, name: str, content: bytes) -> None:
    """Keep a manifest; if that fails, the next load makes it again."""
    try:
        with StateDirectory(state_dir).place_of(os.getuid()) as place:
            place.replace(name, manifest_digest(content).encode() + content, os.getuid())
            _forget_oldest(place)
    except OSError:
        return


def _forget_oldest(place: Directory) -> None:
    names = [name for name in place.names() if name.startswith(PREFIX)]
    ages = {name: place.status_of(name).st_mtime_ns for name in names}
    for name in sorted(names, key=lambda name: -ages[name])[MOST_KEPT:]:
        place.remove(name)
