"""Signed images of version 4: checked with the key, mentioned without it."""

import hashlib

import pytest

from rhubarbe.ndz.header import Security, parse_header

# two primes that give a modulus of 512 bits
P = 2**255 - 19
Q = 2**256 - 189
N, E = P * Q, 17
D = pow(E, -1, (P - 1) * (Q - 1))


@pytest.fixture
def signed(small_image):
    """A golden image made version 4, and signed."""
    chunk = small_image("d8-l")
    old = parse_header(chunk, 0)
    fields = {name: getattr(old, name) for name in old.__slots__}
    fields |= {"version": 4, "security": Security(checksum_type=0x8001)}
    area = bytearray(type(old)(**fields).pack())
    area[200:210] = b"not zeroed"  # of the checksum's field, only the first 64 bytes are
    digest = hashlib.sha1(area + chunk[4096 : 4096 + old.size]).digest()
    content = b"\0\1" + b"\xff" * 8 + b"\0" + digest + b"?" * 33
    signature = pow(int.from_bytes(content, "big"), D, N)
    area[72:136] = signature.to_bytes(64, "big")
    return bytearray(area + chunk[4096:])


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "image.skey"
    path.write_text(f"{N:x}\n{E:x}\n")
    return path


def test_a_good_signature(signed, key, programs, tmp_path, capsys):
    (tmp_path / "image.ndz").write_bytes(signed)
    programs.unzip("-a", key, tmp_path / "image.ndz", tmp_path / "out.img")
    assert "WARNING" not in capsys.readouterr().err


def test_without_the_key_one_line_says_so(signed, programs, tmp_path, capsys):
    (tmp_path / "image.ndz").write_bytes(signed)
    programs.unzip(tmp_path / "image.ndz", tmp_path / "out.img")
    assert "its signatures are not checked" in capsys.readouterr().err


@pytest.mark.parametrize("at", [80, 344 + 500, 4096 + 20])
def test_a_signature_of_other_bytes_is_refused(signed, key, programs, tmp_path, capsys, at):
    signed[at] ^= 1
    (tmp_path / "image.ndz").write_bytes(signed)
    programs.unzip("-a", key, tmp_path / "image.ndz", tmp_path / "out.img", status=1)
    assert "chunk 0:" in capsys.readouterr().err


def test_an_unsigned_image_is_refused_where_a_signature_is_asked_for(
    small_image, key, programs, tmp_path, capsys
):
    (tmp_path / "image.ndz").write_bytes(small_image("d8-l"))
    programs.unzip("-a", key, tmp_path / "image.ndz", tmp_path / "out.img", status=1)
    assert "chunk 0: is not signed" in capsys.readouterr().err


def test_a_file_that_is_no_key(signed, programs, tmp_path, capsys):
    (tmp_path / "image.ndz").write_bytes(signed)
    (tmp_path / "bad").write_text("hello")
    programs.unzip("-a", tmp_path / "bad", tmp_path / "image.ndz", tmp_path / "out", status=1)
    assert "not a key file" in capsys.readouterr().err
