"""Options of imagezip that scripts for the original use: done, or refused in one line."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from made import chunk as made_chunk

from rhubarbe.imaging.signature import PrivateKey
from rhubarbe.ndz.check import check_file

CHUNK = 1 << 20


@pytest.fixture
def disk(tools, tmp_path):
    """A file of two chunks' worth of noise, and then text."""
    path = tmp_path / "disk.img"
    path.write_bytes(tools.noise(CHUNK + 300_000) + b"text " * 30_000 + bytes(512 - 432))
    assert path.stat().st_size % 512
    return path


def chunks_of(path):
    data = path.read_bytes()
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]


@pytest.mark.parametrize("letter", "HUPekLM")
def test_what_is_not_offered_is_refused_in_one_line(letter, disk, programs, tmp_path, capsys):
    programs.zip(f"-{letter}", "sig", disk, tmp_path / "image.ndz", status=1)
    said = capsys.readouterr().err
    assert said.startswith(f"imagezip: option -{letter}: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "image.ndz").exists()


@pytest.mark.parametrize(
    "options",
    [["-1", "-3"], ["-1", "-a", "SHA1"], ["-3", "-a", "SHA1"], ["-1", "-u", "0" * 32],
     ["-a", "MD5"], ["-a", "SHA1", "--sign-key", "key"], ["--sign-key", "/dev/null"], ["-1"]],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(options, disk, programs, tmp_path, capsys):
    programs.zip("-r", *options, disk, tmp_path / "image.ndz", status=1)
    assert capsys.readouterr().err.startswith(("imagezip: -", "imagezip: /dev/null: not a key"))
    assert [path.name for path in tmp_path.iterdir()] == ["disk.img"]


def test_version_1_has_no_range_and_comes_back(programs, tmp_path, tools):
    disk, image = tmp_path / "disk.img", tmp_path / "image.ndz"
    disk.write_bytes(tools.noise(3 * 512))
    programs.zip("-1", "-r", disk, image)
    data = image.read_bytes()
    size = int.from_bytes(data[4:8], "little")
    # magic, size, index, total (not known while it streams), size of the header area, regions
    assert data[:24] == b"iiii" + size.to_bytes(4, "little") + bytes(8) + bytes(
        (0, 16, 0, 0, 1, 0, 0, 0)
    )
    assert data[24:40] == bytes((0, 0, 0, 0, 3, 0, 0, 0)) + bytes(8)  # the region, then nothing
    programs.unzip(image, tmp_path / "out.img")
    assert (tmp_path / "out.img").read_bytes() == disk.read_bytes()
    assert check_file(image).version == 1


def test_without_relocations_a_file_ends_with_a_whole_sector(disk, programs, tmp_path):
    for version in ("-1", "-3"):
        image = tmp_path / "image.ndz"
        programs.zip("-f", "-N", version, disk, image)
        programs.unzip(image, tmp_path / "out.img")
        whole = disk.read_bytes().ljust(-(-disk.stat().st_size // 512) * 512, b"\0")
        assert (tmp_path / "out.img").read_bytes() == whole


@pytest.mark.parametrize("letter", ["-b", "-n"])
def test_a_bare_filesystem_is_told_by_itself(letter, programs, tools, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(tools.noise(64 << 10))
    programs.zip(letter, disk, tmp_path / "image.ndz")
    programs.unzip(tmp_path / "image.ndz", tmp_path / "out.img")
    assert (tmp_path / "out.img").read_bytes() == disk.read_bytes()


def opened(lines, chunk):
    """What the signature of a chunk says, by a library of others; what it should say."""
    key = rsa.RSAPublicNumbers(int(lines[1], 16), int(lines[0], 16)).public_key()
    size = int.from_bytes(chunk[4:8], "little")
    signed = chunk[:72] + bytes(64) + chunk[136 : 4096 + size]
    said = key.recover_data_from_signature(chunk[72:136], padding.PKCS1v15(), None)
    return said, hashlib.sha1(signed).digest()


def test_a_signed_image_is_sealed_and_says_whose_it_is(disk, programs, tmp_path, capsys):
    image = tmp_path / "image.ndz"
    programs.zip("-f", "-a", "SHA1", disk, image)
    lines = (tmp_path / "image.ndz.skey").read_text().splitlines()
    assert len(lines) == 5
    assert (tmp_path / "image.ndz.skey").stat().st_mode & 0o777 == 0o600
    assert int(lines[1], 16) == 17
    chunks = chunks_of(image)
    assert len(chunks) > 1
    for chunk in chunks:
        assert chunk[:4] == b"liii"
        assert chunk[36:40] == b"\0\0\1\x80"  # no cipher; SHA1, signed
        said, digest = opened(lines, chunk)
        assert len(said) == 53
        assert said[:20] == digest
        assert chunk[328:344] == chunks[0][328:344] != bytes(16)
    summary = check_file(image)
    assert (summary.is_sealed, summary.is_signed) == (True, True)
    programs.unzip("-a", tmp_path / "image.ndz.skey", image, tmp_path / "out.img")
    assert (tmp_path / "out.img").read_bytes() == disk.read_bytes()
    assert "WARNING" not in capsys.readouterr().err


@pytest.mark.parametrize("at", [4090, 4040, 100_000, CHUNK - 1])
def test_no_byte_of_a_signed_and_sealed_chunk_can_change(disk, programs, tmp_path, capsys, at):
    image = tmp_path / "image.ndz"
    programs.zip("-f", "-a", "SHA1", disk, image)
    data = bytearray(image.read_bytes())
    data[at] ^= 16
    image.write_bytes(data)
    key = tmp_path / "image.ndz.skey"
    programs.unzip("-a", key, image, tmp_path / "out.img", status=1)
    assert "chunk 0: " in capsys.readouterr().err


def test_a_key_of_one_s_own(disk, programs, tmp_path, capsys):
    key, other = tmp_path / "site.key", tmp_path / "other.key"
    key.write_text(PrivateKey.make().text())
    other.write_text(PrivateKey.make().text())
    programs.zip("-f", "--sign-key", key, disk, tmp_path / "one.ndz")
    programs.zip("-f", "--sign-key", key, disk, tmp_path / "two.ndz")
    assert not (tmp_path / "one.ndz.skey").exists()
    public = tmp_path / "public"
    public.write_text("\n".join(key.read_text().splitlines()[:2]))
    for image in ("one.ndz", "two.ndz"):
        programs.unzip("-a", public, tmp_path / image, tmp_path / "out.img")
        programs.unzip("-a", other, tmp_path / image, tmp_path / "not.img", status=1)
    assert "its signature is not that of this key" in capsys.readouterr().err
    programs.zip("-f", "--sign-key", public, disk, tmp_path / "three.ndz", status=1)
    assert "not a key that signs" in capsys.readouterr().err


def test_a_key_that_a_library_of_others_made(disk, programs, tmp_path):
    p, q = 2**255 - 19, 2**256 - 189
    numbers = rsa.RSAPublicNumbers(17, p * q)
    d = pow(17, -1, (p - 1) * (q - 1))
    private = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), numbers
    )
    lines = [p * q, 17, private.dmp1, private.dmq1, private.iqmp]
    (tmp_path / "key").write_text("".join(f"{number:x}\n" for number in lines))
    programs.zip("-f", "--sign-key", tmp_path / "key", disk, tmp_path / "image.ndz")
    for chunk in chunks_of(tmp_path / "image.ndz"):
        said, digest = opened([f"{number:x}" for number in lines], chunk)
        assert said[:20] == digest
    assert PrivateKey.load(str(tmp_path / "key")).text().splitlines() == [
        f"{number:x}" for number in lines
    ]


def test_a_key_replaces_the_one_of_the_image_before(disk, programs, tmp_path):
    left = tmp_path / "image.ndz.skey.partial"
    left.write_text("of a run before")
    reader = os.open(left, os.O_RDONLY)
    programs.zip("-f", "-a", "sha1", disk, tmp_path / "image.ndz")
    first = (tmp_path / "image.ndz.skey").read_text()
    programs.zip("-f", "-a", "sha1", disk, tmp_path / "image.ndz")
    assert (tmp_path / "image.ndz.skey").read_text() != first
    assert os.read(reader, 99) == b"of a run before"
    os.close(reader)


def test_an_encrypted_image_stays_refused(programs, tmp_path, capsys):
    locked = made_chunk(version=4, security=b"\1\0")
    (tmp_path / "image.ndz").write_bytes(locked)
    programs.unzip(tmp_path / "image.ndz", tmp_path / "out.img", status=1)
    assert "encrypted with an obsolete cipher" in capsys.readouterr().err
    assert not (tmp_path / "out.img").exists()
