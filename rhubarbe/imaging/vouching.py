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
from rhubarbe.imaging.fitting import Extent
from rhubarbe.ndz.errors import BadManifest
from rhubarbe.ndz.header import SECTOR
from rhubarbe.ndz.manifest import MANIFEST_MOST_BYTES, Manifest

PATIENCE = 30.0
"""Seconds until all of a manifest must have come."""

_STEP = 1 << 20
_DIGEST = re.compile("[0-9a-fA-F]{64}")
_HOST_AND_PORT = re.compile(r"\[?([^\s/]+?)\]?:(\d{1,5})")


def read_manifest(place: str, digest: str | None, patience: float = PATIENCE) -> Manifest:
    """Read a manifest from a file, or from `HOST:PORT`, where it comes without being asked for.

    It must have come within `patience` seconds. Without a digest a file is trusted. Raises
    BadManifest, UsageError, OSError, which names the place.
    """
    if digest is not None and not _DIGEST.fullmatch(digest.strip()):
        raise UsageError("--manifest-digest: 64 hexadecimal digits are wanted")
    address = _HOST_AND_PORT.fullmatch(place)
    is_host = address is not None and not os.path.lexists(place)
    if is_host and digest is None:
        raise UsageError("--manifest HOST:PORT is proven by --manifest-digest, which is missing")
    deadline = time.monotonic() + patience
    try:
        if address and is_host:
            data = _from_host(address[1], int(address[2]), deadline)
        else:
            data = _from_file(place, deadline)
        return Manifest.parse(data, digest)
    except BadManifest as error:
        error.args = (f"{place}: {error}",)
        raise
    except OSError as error:
        raise OSError(error.errno, f"manifest: {error.strerror or error}", place) from error


def extent_of(manifest: Manifest) -> Extent:
    """Return how far an image reaches, or a few bytes less, where it ends inside a sector."""
    last = manifest.data_end - 1
    return Extent(last * SECTOR + 1 if manifest.data_end else 0, manifest.covered)


def _from_host(host: str, port: int, deadline: float) -> bytes:
    if not 0 < port < 1 << 16:
        raise UsageError(f"--manifest: there is no port {port}")
    connection = socket.create_connection((host, port), max(deadline - time.monotonic(), 0.1))
    with connection:
        connection.settimeout(0)
        return _read_all(connection.fileno(), connection.recv, deadline)


def _from_file(path: str, deadline: float) -> bytes:
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
