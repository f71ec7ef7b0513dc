"""A torrent of one file, as BEP 3 describes it: bencoded, with the SHA-1 of each piece."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

PIECE = 1 << 20

Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value]"


def bencode(value: Value) -> bytes:
    """Return a value in the encoding of BEP 3: integers, bytes, lists, and sorted dictionaries."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    pairs = (bencode(key) + bencode(value[key]) for key in sorted(value))
    return b"d" + b"".join(pairs) + b"e"


@dataclass(frozen=True, slots=True)
class Torrent:
    """A torrent file; `info_hash` is what peers and trackers call it."""

    content: bytes
    info_hash: bytes


def make_torrent(path: Path, name: str, announce: str, stop: threading.Event) -> Torrent:
    """Read a file and make its torrent, for a tracker at the URL `announce`.

    `name` is what the file is called where it arrives. Raises OSError; InterruptedError when
    `stop` is set meanwhile.
    """
    pieces, size = [], 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            if stop.is_set():
                raise InterruptedError
            pieces.append(hashlib.sha1(piece, usedforsecurity=False).digest())
            size += len(piece)
    info: dict[bytes, Value] = {
        b"length": size,
        b"name": name.encode(),
        b"piece length": PIECE,
        b"pieces": b"".join(pieces),
        # Peers are those that the tracker knows, from nowhere else.
        b"private": 1,
    }
    content = bencode({b"announce": announce.encode(), b"info": info})
    return Torrent(content, hashlib.sha1(bencode(info), usedforsecurity=False).digest())
