"""A chunk's stream as the sectors that it stores, piece by piece."""

from collections.abc import Iterator
from types import ModuleType
from typing import Protocol

from rhubarbe.ndz.errors import DamagedChunk, UnsupportedImage
from rhubarbe.ndz.header import HEADER_AREA, SECTOR, Buffer, ChunkHeader


def _load_engine() -> ModuleType:
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this machine: the same streams, three times slower
        import zlib

        return zlib
    return isal_zlib


engine = _load_engine()
"""`isal.isal_zlib`, or `zlib` where that is not installed: the two have the same functions."""

PIECE = 256 << 10
"""Most bytes that one step gives out: it bounds the memory of a reader, and stays in a cache."""


def inflate(chunk: Buffer, header: ChunkHeader, *, is_proven: bool = False) -> Iterator[bytes]:
    """Yield the chunk's sectors in order; every piece but the last is exactly 256 KiB.

    Of a chunk whose bytes are proven, the checksum that ends its stream need not be computed.

    Raises DamagedChunk where the stream is not one zlib stream of exactly `header.size` bytes
    that fills the regions exactly, UnsupportedImage where it is encrypted.
    """
    if header.security.cipher:
        raise UnsupportedImage(
            f"chunk {header.index}: encrypted with an obsolete cipher (Blowfish): "
            "only the programs that made this image can read it"
        )
    expected = header.data_sectors * SECTOR
    given = 0
    for piece in _pieces(chunk, header, is_proven=is_proven):
        given += len(piece)
        if given > expected:
            raise DamagedChunk(
                header.index, f"inflates to more than the {expected} bytes of its regions"
            )
        yield piece
    if given < expected:
        raise DamagedChunk(header.index, f"inflates to {given} bytes, its regions have {expected}")


_ZLIB_HEAD, _ZLIB_TAIL = 2, 4


class _Inflater(Protocol):
    """One stream: all of it goes in at first, ``b""`` afterwards."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: Buffer, max_length: int, /) -> bytes: ...


class _ZlibInflater:
    """The zlib module's own, which hands back what it did not consume."""

    def __init__(self, *, is_bare: bool) -> None:
        self._inflater = engine.decompressobj(-15 if is_bare else 15)

    @property
    def eof(self) -> bool:
        return bool(self._inflater.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inflater.unused_data)

    def decompress(self, data: Buffer, max_length: int, /) -> bytes:
        return bytes(self._inflater.decompress(data or self._inflater.unconsumed_tail, max_length))


def _inflater(*, is_bare: bool) -> _Inflater:
    """Return what inflates a zlib stream, or what is between its two ends."""
    try:
        from isal import igzip_lib
    except ImportError:
        return _ZlibInflater(is_bare=is_bare)
    # It keeps its input, where decompressobj copies what is left of it after each piece.
    kind = igzip_lib.DECOMP_DEFLATE if is_bare else igzip_lib.DECOMP_ZLIB
    inflater: _Inflater = igzip_lib.IgzipDecompressor(kind)
    return inflater


def _pieces(chunk: Buffer, header: ChunkHeader, *, is_proven: bool) -> Iterator[bytes]:
    inflater = _inflater(is_bare=is_proven)
    part: Buffer = memoryview(chunk)[HEADER_AREA : HEADER_AREA + header.size]
    if is_proven:
        part = part[_ZLIB_HEAD:-_ZLIB_TAIL]
    try:
        while not inflater.eof:
            piece = inflater.decompress(part, PIECE)
            if piece:
                yield piece
            elif not inflater.eof:
                raise DamagedChunk(header.index, "its compressed data ends too early")
            part = b""
    except engine.error as error:
        raise DamagedChunk(header.index, f"inflate error: {error}") from error
    if inflater.unused_data:
        raise DamagedChunk(
            header.index, f"{len(inflater.unused_data)} bytes too many after its compressed data"
        )
