"""The manifest by which chunks and disks are proven: read from a file, or from a host that has it.

Whoever gives it is not trusted: the digest that came by another way is.
"""

import os
import re
import select
import socket
import time
from collections.abc import Callable

from rhubarbe.imaging.errors import UsageError
from rhubarbe.imaging.fitting import ImageExtent
from rhubarbe.imaging.imagefile import STDIN
from rhubarbe.ndz.errors import BadManifest
from rhubarbe.ndz.header import SECTOR
from rhubarbe.ndz.manifest import MANIFEST_MOST_BYTES, Manifest

LIMIT_S = 30.0
"""All of a manifest must have come by then."""

_STEP = 1 << 20
_DIGEST = re.compile("[0-9a-fA-F]{64}")
_HOST_AND_PORT = re.compile(r"\[?([^\s/]+?)\]?:(\d{1,5})")


def refuse_odd(place: str, digest: str | None) -> None:
    """Raise UsageError where this can be no place of a manifest, or no digest of one."""
    if digest is not None and not _DIGEST.fullmatch(digest.strip()):
        raise UsageError("--manifest-digest: 64 hexadecimal digits are wanted")
    if address := _address(place):
        if digest is None:
            raise UsageError(
                "--manifest HOST:PORT is proven by --manifest-digest, which is missing"
            )
        if not 0 < address[1] < 1 << 16:
            raise UsageError(f"--manifest: there is no port {address[1]}")


def read_manifest(place: str, digest: str | None, limit_s: float = LIMIT_S) -> Manifest:
    """Read a manifest from a file, `-` being the standard input, or from `HOST:PORT`.

    A host sends it without being asked. All of it must have come within `limit_s` seconds. Without
    a digest a file is trusted. Raises BadManifest, UsageError, and OSError, which names the place.
    """
    refuse_odd(place, digest)
    name = "standard input" if place == STDIN else place
    deadline = time.monotonic() + limit_s
    try:
        address = _address(place)
        data = _from_host(*address, deadline) if address else _from_file(place, deadline)
        return Manifest.parse(data, digest)
    except BadManifest as error:
        error.args = (f"{name}: {error}",)
        raise
    except OSError as error:
        raise OSError(error.errno, f"manifest: {error.strerror or error}", name) from error


def _address(place: str) -> tuple[str, int] | None:
    """Return the host and port that a place is, unless there is a file of that name."""
    found = _HOST_AND_PORT.fullmatch(place)
    return (found[1], int(found[2])) if found and not os.path.lexists(place) else None


def extent_of(manifest: Manifest) -> ImageExtent:
    """Return how far an image reaches, or a few bytes less, where it ends inside a sector."""
    last = manifest.data_end - 1
    return ImageExtent(last * SECTOR + 1 if manifest.data_end else 0, manifest.covered)


def _from_host(host: str, port: int, deadline: float) -> bytes:
    connection = socket.create_connection((host, port), max(deadline - time.monotonic(), 0.1))
    with connection:
        connection.settimeout(0)
        return _read_all(connection.fileno(), connection.recv, deadline)


def _from_file(path: str, deadline: float) -> bytes:
    if path == STDIN:
        return _read_all(0, lambda count: os.read(0, count), deadline)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _read_all(descriptor, lambda count: os.read(descriptor, count), deadline)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, read: Callable[[int], bytes], deadline: float) -> bytes:
    data = bytearray()
    while len(data) <= MANIFEST_MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise BadManifest(f"not whole in time, {len(data)} bytes came")
        try:
            part = read(_STEP)
        except BlockingIOError:
            continue
        if not part:
            return bytes(data)
        data += part
    raise BadManifest(f"more than {MANIFEST_MOST_BYTES} bytes")
