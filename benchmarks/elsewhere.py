"""Figures of the original tools on another machine, for a run in which they themselves are not.

They are multiplied by how much faster that machine deflates by zlib, on one core. That is a rule of
thumb: whoever has the programs gives them by `--original`, and they run in turns with ours.
"""

import time
import zlib
from pathlib import Path

ZIP = {"original, level 4": 84, "original, level 1": 124}  # MB/s of allocated data
UNZIP = {"original": 282, "original, at best": 345}
WIRE = {  # of an image of 291 MB, one client: seconds for the network only, and to restore
    ("whole", "network"): 4.22,
    ("whole", "restore"): 4.46,
    ("gro", "network"): 5.32,
    ("gro", "restore"): 5.39,
    ("split", "network"): 4.10,
    ("split", "restore"): 4.49,
}
WIRE_BYTES = 291_000_000
CLIENT_US = 1.6  # of processor, a packet, where trains are split
DEFLATES = 84  # MB/s by zlib's level 4

_PIECE, _PIECES = 2 << 20, 24


def here(deflated: float) -> float:
    """Return by what to multiply a time of that machine where zlib deflates so many MB/s."""
    return DEFLATES / deflated


def deflates() -> float:
    """Return how many MB/s one core deflates here by zlib's level 4, of shared libraries."""
    pieces: list[bytes] = []
    for path in sorted(Path("/usr/lib").rglob("*.so*")):
        if len(pieces) == _PIECES:
            break
        if path.is_file() and not path.is_symlink() and path.stat().st_size >= _PIECE:
            with path.open("rb") as file:
                pieces.append(file.read(_PIECE))
    started = time.process_time()
    for piece in pieces:
        zlib.compress(piece, 4)
    return sum(map(len, pieces)) / (time.process_time() - started) / 1e6
