"""A file as a row of chunks: what there is of each is read whole, however the kernel gives it."""

import os

import pytest

from rhubarbe.ndz.header import CHUNK, HEADER_AREA
from rhubarbe.ndz.rows import ChunkRow, fill


@pytest.fixture
def row(tmp_path):
    """Make a row of a file's bytes, from some byte on."""
    opened = []

    def make(content, start=0):
        path = tmp_path / "image"
        path.write_bytes(content)
        opened.append(os.open(path, os.O_RDONLY))
        return ChunkRow.of(opened[-1], start)

    yield make
    for descriptor in opened:
        os.close(descriptor)


def test_what_a_file_has_of_each_chunk(row):
    content = b"".join(bytes([n]) * CHUNK for n in range(3)) + b"rest"
    found = row(content)
    assert (found.count, found.rest, found.size) == (3, 4, len(content))
    assert found.read(1) == content[CHUNK : 2 * CHUNK]
    assert found.read(3) == b"rest"
    assert found.read(4) == b""
    assert found.header_area(2) == bytes([2]) * HEADER_AREA
    chunk = memoryview(bytearray(CHUNK))
    assert [found.read_into(place, chunk) for place in (2, 3, 4)] == [CHUNK, 4, 0]
    assert bytes(chunk[:5]) == b"rest\2"


def test_what_was_read_before_is_no_part_of_it(row):
    found = row(b"before" + b"x" * CHUNK, 6)
    assert (found.count, found.rest, found.read(0)) == (1, 0, b"x" * CHUNK)
    assert row(b"short", 9).size == 0


@pytest.mark.parametrize("step", [1, 7, 1024, 3000])
def test_what_comes_in_pieces_is_put_together(row, monkeypatch, step):
    """As a filesystem of another machine may give it."""
    content = os.urandom(9000)
    descriptor = row(content).descriptor
    real = os.preadv

    def in_pieces(number, views, at):
        data = bytearray(step)
        got = real(number, [data], at)
        views = [memoryview(view) for view in views]
        assert all(len(view) for view in views)
        put = 0
        for view in views:
            part = data[put : min(put + len(view), got)]
            view[: len(part)] = part
            put += len(part)
        return put

    monkeypatch.setattr(os, "preadv", in_pieces)
    blocks = [memoryview(bytearray(1024)) for _ in range(10)]
    assert fill(descriptor, blocks, 10, 10 * 1024) == 8990
    assert b"".join(blocks)[:8990] == content[10:]
