"""Restores by a manifest: no chunk that it does not vouch for, and the disk compared with it."""

import os
import random
import socket
import struct
import subprocess
import sys
import threading
import zlib

import pytest

from rhubarbe.imaging import vouching
from rhubarbe.imaging.errors import UsageError, VerifyError
from rhubarbe.imaging.restore import Restorer, Target
from rhubarbe.ndz.check import check_file
from rhubarbe.ndz.digests import ALGORITHMS, Algorithm
from rhubarbe.ndz.errors import BadManifest, DamagedChunk, TruncatedImage
from rhubarbe.ndz.header import CHUNK
from rhubarbe.ndz.manifest import MANIFEST_MOST_BYTES, Manifest, ManifestMaker, manifest_digest

VERSIONS = [(version, algorithm) for version in (1, 2, 3, 4) for algorithm in ALGORITHMS]
CODE = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"
SECTORS = 4000  # of each chunk of the images that are made here


def chunk(index, *, version=2, seed=0, relocations=(), sectors=SECTORS):
    """One chunk, unsealed: two regions, free space between them and after them."""
    data = random.Random(index * 1000 + seed).randbytes(512) * sectors
    start = index * SECTORS * 2
    body = zlib.compress(data, 1)
    head = struct.pack("<IIiiii", 0x69696968 + version, len(body), index, 0, 4096, 2)
    if version > 1:
        head += struct.pack("<IIi", start, start + 2 * SECTORS, len(relocations))
    if version == 4:
        head += bytes(2 + 2 + 32 + 256) + b"u" * 16
    head += struct.pack("<IIII", start, 100, start + 200, sectors - 100)
    head += b"".join(struct.pack("<IIII", *each) for each in relocations)
    return (head.ljust(4096, b"\0") + body).ljust(CHUNK, b"\0")


@pytest.fixture
def image(tmp_path):
    def write(chunks=3, name="image.ndz", **options):
        path = tmp_path / name
        path.write_bytes(b"".join(chunk(index, **options) for index in range(chunks)))
        return path

    return write


@pytest.fixture
def manifest(tmp_path):
    """Write the manifest of an image beside it; return its place and digest."""

    def write(image, algorithm=ALGORITHMS[0]):
        maker = ManifestMaker(algorithm)
        check_file(image, manifest=maker)
        path = tmp_path / f"{image.name}.manifest"
        path.write_bytes(maker.finish())
        return path, manifest_digest(path.read_bytes())

    return write


@pytest.fixture
def proof(manifest):
    """The options by which an image is proven."""
    return lambda *of: options(*manifest(*of))


def options(place, digest):
    return ("--manifest", place, "--manifest-digest", digest)


def disk_of(path, chunks=3):
    path.write_bytes(b"\xaa" * (chunks * SECTORS * 2 * 512))
    return path


@pytest.mark.parametrize(
    "way", [(*each, extra) for each in VERSIONS for extra in ("-z", "-n", "-f", "-O")]
)
def test_an_image_of_any_version_is_restored_and_verified_by_its_manifest(
    image, proof, programs, tmp_path, way, capsys
):
    version, algorithm, extra = way
    path = image(version=version)
    with_it, without = (disk_of(tmp_path / name) for name in ("with", "without"))
    programs.unzip("--as-device", extra, path, without)
    programs.unzip("--as-device", "--verify", *proof(path, algorithm), extra, path, with_it)
    assert with_it.read_bytes() == without.read_bytes()
    assert f"Verified {3 * SECTORS * 512} bytes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["d2-s3", "d4-raw", "d7-file", "d8-l"])
def test_images_of_the_original_are_proven_too(
    small_image, proof, programs, tmp_path, name, capsys
):
    path = tmp_path / "image.ndz"
    path.write_bytes(small_image(name))
    with_it, without = tmp_path / "with", tmp_path / "without"
    programs.unzip(path, without)
    programs.unzip("--verify", *proof(path), path, with_it)
    assert with_it.read_bytes() == without.read_bytes()
    assert "Verified" in capsys.readouterr().err


def test_a_file_is_trusted_without_a_digest(image, manifest, programs, tmp_path):
    path = image()
    programs.unzip("--manifest", manifest(path)[0], path, tmp_path / "out")


def test_a_chunk_of_another_image_is_not_written(
    image, proof, manifest, programs, tmp_path, capsys
):
    path, other = image(), image(name="other.ndz", seed=1)
    data = bytearray(path.read_bytes())
    data[CHUNK : 2 * CHUNK] = other.read_bytes()[CHUNK : 2 * CHUNK]
    forged = tmp_path / "forged.ndz"
    forged.write_bytes(data)
    check_file(forged)  # nothing but the manifest tells it from the image
    disk = disk_of(tmp_path / "disk")
    programs.unzip("--as-device", "-n", *proof(path), forged, disk, status=1)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"imageunzip: {forged}: chunk 1: not the one that the manifest vouches for"]
    start = SECTORS * 2 * 512
    assert disk.read_bytes()[start:] == (b"\xaa" * 512) * (SECTORS * 4)


def test_nothing_is_touched_where_the_first_chunk_is_forged(image, proof, programs, tmp_path):
    given = proof(image())
    disk = disk_of(tmp_path / "disk")
    before = disk.read_bytes()
    programs.unzip("--as-device", *given, image(name="other.ndz", seed=1), disk, status=1)
    assert disk.read_bytes() == before


@pytest.mark.parametrize("count", [2, 4])
def test_an_image_of_more_or_fewer_chunks_is_refused(
    image, proof, programs, tmp_path, count, capsys
):
    given = proof(image())
    other = image(count, name="other.ndz")
    disk = disk_of(tmp_path / "disk", 4)
    before = disk.read_bytes()
    programs.unzip("--as-device", *given, other, disk, status=1)
    assert f"{other}: {count} chunks, its manifest has 3" in capsys.readouterr().err
    assert disk.read_bytes() == before


@pytest.mark.parametrize(
    ("count", "words"), [(2, "chunk 2: missing"), (4, "chunk 3: one too many")]
)
def test_so_is_one_from_a_pipe(image, proof, tmp_path, count, words):
    given = proof(image())
    disk = disk_of(tmp_path / "disk", 4)
    done = unzip_from_pipe(image(count, name="other.ndz").read_bytes(), *given, "-", disk)
    assert done.returncode == 1
    assert words in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def unzip_from_pipe(data, *arguments):
    program = "import sys; from rhubarbe.imaging.imageunzip import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "--as-device", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, check=False)


def test_an_image_from_a_pipe_is_proven_and_its_extent_known(image, proof, tools, tmp_path):
    path = image()
    given = proof(path)
    disk = disk_of(tmp_path / "disk")
    done = unzip_from_pipe(path.read_bytes(), "--verify", *given, "-", disk)
    assert (done.returncode, b"Verified" in done.stderr) == (0, True), done.stderr
    small = tools.junk(tmp_path / "small", SECTORS * 2 * 512)
    before = small.read_bytes()
    done = unzip_from_pipe(path.read_bytes(), *given, "-", small)
    assert b"too small, nothing was written" in done.stderr
    assert small.read_bytes() == before


def restored(path, manifest, target):
    restorer = Restorer(target, verify=True, manifest=Manifest.parse(manifest.read_bytes(), None))
    data = path.read_bytes()
    restorer.begin(data[:CHUNK], None)
    for at in range(0, len(data), CHUNK):
        restorer.submit(at // CHUNK, data[at : at + CHUNK])
    restorer.finish()
    return restorer


def test_the_disk_is_compared_with_the_manifest(image, manifest, tmp_path):
    path, disk = image(), disk_of(tmp_path / "disk")
    with Target.open(str(disk), keep_size=True) as target:
        restorer = restored(path, manifest(path)[0], target)
        assert restorer.verify()[0] == 3 * SECTORS * 512
        os.pwrite(target.descriptor, b"!", (SECTORS * 2 + 205) * 512)
        os.fsync(target.descriptor)
        with pytest.raises(VerifyError, match="chunk 1, in sectors 8000 to 12099: "):
            restorer.verify()


def test_a_chunk_that_comes_twice_is_refused(image, manifest, tmp_path):
    path, disk = image(), disk_of(tmp_path / "disk")
    with Target.open(str(disk), keep_size=True) as target:
        known = Manifest.parse(manifest(path)[0].read_bytes(), None)
        restorer = Restorer(target, threads=1, manifest=known)
        data = path.read_bytes()[:CHUNK]
        restorer.submit(0, data)
        with pytest.raises((DamagedChunk, TruncatedImage), match="chunk 0: is there twice"):
            for _ in range(1000):
                restorer.wait_for_room()
                restorer.submit(0, data)
        restorer.abort()


def slice_disk(tools, path, first=2048):
    tools.need("sfdisk")
    with path.open("wb") as file:
        file.truncate(30 << 20)
    tools.run("sfdisk", "-q", path, input=f"label-id: 0x1234\n{first},40000,83\n")
    return path


def test_what_a_relocation_changes_is_compared_as_changed(
    image, proof, programs, tools, tmp_path, capsys
):
    # LILO's address in sector 1, an unknown one, and none at all
    path = image(relocations=[(3, 1, 10, 5)], chunks=1)
    data = bytearray(path.read_bytes())
    with_it = slice_disk(tools, tmp_path / "with")
    without = slice_disk(tools, tmp_path / "without")
    programs.unzip("-s", "1", path, without)
    programs.unzip("-s", "1", "--verify", *proof(path), path, with_it)
    assert with_it.read_bytes() == without.read_bytes()
    assert f"Verified {SECTORS * 512} bytes" in capsys.readouterr().err
    plain = zlib.decompress(data[4096:])
    on_disk = with_it.read_bytes()[2048 * 512 :]
    assert on_disk[512:1024] != plain[512:1024]
    assert on_disk[1024 : 100 * 512] == plain[1024 : 100 * 512]


@pytest.mark.parametrize("kind", [(512, 0), (4096, 0), (512, 8 << 20), (4096, 8 << 20)])
def test_a_gpt_that_is_made_to_fit_is_compared_as_changed(
    proof, programs, tools, loop, tmp_path, kind
):
    tools.need("sfdisk", "sgdisk")
    sector_size, larger = kind
    disks = []
    for name, size in (("disk", 32 << 20), ("restored", (32 << 20) + larger)):
        tools.junk(tmp_path / name, size)
        disks.append(loop(tmp_path / name, sector_size))
    disk, restored_on = disks
    tools.run("sfdisk", "-q", "-w", "always", disk, input="label: gpt\n,4MiB\n,8MiB\n")
    path = tmp_path / "image.ndz"
    programs.zip(disk, path)
    programs.unzip("--verify", *proof(path), path, restored_on)
    assert "No problems found" in tools.run("sgdisk", "-v", restored_on)


@pytest.mark.parametrize("damage", ["digest", "cut", "empty", "missing", "directory"])
def test_a_manifest_that_is_none_is_refused_before_the_disk_is_opened(
    image, manifest, programs, tmp_path, capsys, damage
):
    place, digest = manifest(image())
    if damage == "digest":
        digest = "0" * 64
    elif damage == "cut":
        place.write_bytes(place.read_bytes()[:-1])
        digest = manifest_digest(place.read_bytes())
    elif damage == "empty":
        place.write_bytes(b"")
    elif damage == "missing":
        place.unlink()
    else:
        place = tmp_path
    programs.unzip(*options(place, digest), image(), tmp_path / "out", status=1)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "manifest: " in said
    assert not (tmp_path / "out").exists()


def test_odd_command_lines_are_refused(image, programs, tmp_path, capsys):
    for words in (
        ["--manifest-digest", "0" * 64],
        ["--manifest", "127.0.0.1:4000"],
        ["--manifest", "127.0.0.1:99999", "--manifest-digest", "0" * 64],
    ):
        programs.unzip(*words, image(), tmp_path / "out", status=1)
        assert "--manifest" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Host:
    """Gives bytes to whoever connects, in parts, and keeps the connection open if told to."""

    def __init__(self, *parts, closes=True):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._parts, self._closes = parts, closes
        self._thread = threading.Thread(target=self._serve)
        self._over = threading.Event()

    def __enter__(self):
        self._thread.start()
        return "127.0.0.1:{1}".format(*self._listener.getsockname())

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._listener.close()

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection:
            try:
                for part in self._parts:
                    connection.sendall(part)
                if not self._closes:
                    self._over.wait()
            except OSError:
                pass


def test_a_manifest_comes_from_a_host(image, manifest, programs, tmp_path):
    path = image()
    place, digest = manifest(path)
    data = place.read_bytes()
    with Host(data[:10], data[10:]) as address:
        programs.unzip(*options(address, digest), path, tmp_path / "out")


def test_a_host_that_gives_another_a_silent_one_and_an_endless_one_are_refused(image, manifest):
    place, digest = manifest(image())
    data = place.read_bytes()
    endless = [bytes(1 << 20)] * ((MANIFEST_MOST_BYTES >> 20) + 2)
    with Host(data[:-1] + b"!") as address, pytest.raises(BadManifest, match="forged"):
        vouching.read_manifest(address, digest)
    with Host(data, closes=False) as address, pytest.raises(BadManifest, match="not whole in time"):
        vouching.read_manifest(address, digest, 1.0)
    with Host(*endless) as address, pytest.raises(BadManifest, match="more than"):
        vouching.read_manifest(address, digest)


def test_a_host_that_is_not_there_is_told(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(OSError, match="manifest: Connection refused"):
        vouching.read_manifest(address, "0" * 64)


def test_a_fifo_that_nobody_writes_is_no_manifest(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadManifest, match="not whole in time"):
        vouching.read_manifest(str(tmp_path / "fifo"), None, 0.2)


def test_imagedump_makes_it(image, manifest, programs, tmp_path, capsys):
    path = image()
    place, digest = manifest(path)
    programs.dump("--manifest", tmp_path / "made", path)
    assert capsys.readouterr().out == f"{digest}\n"
    assert (tmp_path / "made").read_bytes() == place.read_bytes()
    programs.dump("--manifest", tmp_path / "made", "--blake2b", path)
    made = Manifest.parse((tmp_path / "made").read_bytes(), capsys.readouterr().out)
    assert made.algorithm is Algorithm.BLAKE2B


def test_imagedump_makes_none_of_a_damaged_image(image, programs, tmp_path, capsys):
    path = image()
    path.write_bytes(path.read_bytes()[:-1])
    programs.dump("--manifest", tmp_path / "made", path, status=1)
    assert not (tmp_path / "made").exists()
    programs.dump("--manifest", tmp_path / "made", path, path, status=1)
    assert "of one image" in capsys.readouterr().err


def test_a_place_that_is_a_file_wins_over_a_host_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "host:80").write_bytes(b"")
    with pytest.raises(BadManifest, match="not a manifest"):
        vouching.read_manifest("host:80", None)
    with pytest.raises(UsageError):
        vouching.read_manifest("host:81", None)


@pytest.mark.parametrize("digest", ["", "x" * 64, "ab" * 16])
def test_what_can_be_no_digest_proves_nothing(image, manifest, programs, tmp_path, capsys, digest):
    place, _ = manifest(image())
    words = ["--manifest", place, "--manifest-digest", digest, image(), tmp_path / "disk"]
    programs.unzip(*words, status=1)
    assert "64 hexadecimal digits" in capsys.readouterr().err
    assert not (tmp_path / "disk").exists()


def test_imagedump_writes_it_over_no_image_and_no_device(image, programs, tmp_path, capsys):
    path, link = image(), tmp_path / "link"
    before = path.read_bytes()
    link.symlink_to(path)
    for place in (path, link, "/dev/no-such-manifest"):
        programs.dump("--manifest", place, path, status=1)
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert path.read_bytes() == before
    programs.dump("--manifest", tmp_path / "no" / "place", path, status=1)
    assert f"{tmp_path}/no/place: opening output file: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--verify"]])
def test_a_pipe_cannot_be_verified(image, proof, tmp_path, words):
    line = [sys.executable, "-c", CODE, *words, *proof(image()), image(), "-"]
    done = subprocess.run(list(map(str, line)), capture_output=True, check=False)
    assert (done.returncode, bool(done.stdout)) == ((1, False) if words else (0, True))
    assert b"Traceback" not in done.stderr
    assert not words or b"nothing was written: --verify reads back" in done.stderr


@pytest.mark.parametrize("place", ["-", "/dev/stdin"])
def test_a_manifest_comes_by_the_standard_input(image, manifest, tmp_path, place):
    path = image()
    known, digest = manifest(path)
    line = [sys.executable, "-c", CODE, *options(place, digest), path, tmp_path / "disk"]
    for data, status in ((known.read_bytes(), 0), (known.read_bytes()[:-1], 1), (b"", 1)):
        done = subprocess.run(list(map(str, line)), input=data, capture_output=True, check=False)
        assert done.returncode == status, done.stderr
        assert not status or b"forged" in done.stderr
    name = b"standard input" if place == "-" else b"/dev/stdin"
    assert done.stderr.startswith(b"imageunzip: " + name + b": manifest: ")


def test_image_and_manifest_do_not_both_come_from_there(programs, tmp_path, capsys):
    programs.unzip("--manifest", "-", "-", tmp_path / "disk", status=1)
    assert "cannot both come from the standard input" in capsys.readouterr().err
