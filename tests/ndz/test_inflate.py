"""Inflating with either library: the same pieces, the same refusals."""

import random
import zlib

import pytest

from rhubarbe.ndz import inflate as module
from rhubarbe.ndz.errors import DamagedChunk
from rhubarbe.ndz.header import HEADER_AREA, ChunkHeader, Region
from rhubarbe.ndz.inflate import PIECE, inflate

SECTORS = 5000


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def inflater(request, monkeypatch):
    """Try each of the inflaters; that of zlib is what is used where isal is not installed."""
    if request.param == "zlib":
        monkeypatch.setattr(module, "engine", zlib)
        monkeypatch.setattr(module, "_inflater", module._ZlibInflater)


def _data():
    return random.Random(1).randbytes(SECTORS * 256) + bytes(SECTORS * 256)


def _chunk(stream):
    header = ChunkHeader(
        version=2, size=len(stream), index=3, first=0, last=SECTORS, regions=(Region(0, SECTORS),)
    )
    return bytes(HEADER_AREA) + stream, header


def test_pieces_are_of_one_size_but_the_last():
    *pieces, last = inflate(*_chunk(zlib.compress(_data())))
    assert b"".join([*pieces, last]) == _data()
    assert {len(piece) for piece in pieces} == {PIECE}
    assert 0 < len(last) <= PIECE


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (zlib.compress(_data())[:-9], "ends too early"),
        (zlib.compress(_data()) + b"more", "4 bytes too many"),
        (zlib.compress(_data())[:-1] + b"\0", "inflate error"),
        (zlib.compress(_data() + bytes(512)), "inflates to more"),
        (zlib.compress(_data()[:-512]), "inflates to 2559488 bytes"),
        (b"no stream", "inflate error"),
    ],
)
def test_what_is_not_one_whole_stream_is_refused(stream, why):
    with pytest.raises(DamagedChunk, match=why):
        list(inflate(*_chunk(stream)))
