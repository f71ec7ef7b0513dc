"""A third host on the switch of a session: a disk is the image, or its client has failed."""

import json
import random
import subprocess
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import pytest
from namespaces import Switch, missing

from rhubarbe.ndz.check import check_file
from rhubarbe.ndz.header import ChunkHeader, Region
from rhubarbe.ndz.manifest import ManifestMaker, manifest_digest
from rhubarbe.ndz.seal import Seal, seal_chunk

pytestmark = [pytest.mark.full, pytest.mark.timeout(200)]

CHUNKS = 5
SERVER, CLIENT, STRANGER = "10.98.0.1", 1, 2
FROM_ELSEWHERE = ["answer", "sizes", "ask", "join", "lack", "empty", "babble"]
IN_ITS_NAME = ["forge", "replay", "one", "garbage", "combine"]


def _image(seed):
    """A sealed image, and its disk; all seeds have one id and one shape, so seals tell nothing."""
    chance = random.Random(seed)
    image, disk = b"", b""
    for index in range(CHUNKS):
        data = chance.randbytes(700 << 10)
        packed, sectors = zlib.compress(data, 1), len(data) // 512
        header = ChunkHeader(
            version=3,
            size=len(packed),
            index=index,
            first=index * sectors,
            last=(index + 1) * sectors,
            regions=(Region(index * sectors, sectors),),
        )
        chunk = bytearray((header.pack().ljust(4096, b"\0") + packed).ljust(1 << 20, b"\0"))
        is_last = index == CHUNKS - 1
        seal = Seal(
            image_id=b"the image's uuid",
            index=index,
            total=CHUNKS if is_last else 0,
            is_last=is_last,
            data_check=zlib.crc32(data),
        )
        seal_chunk(chunk, seal)
        image += chunk
        disk += data
    return image, disk


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The image that is served with its disk and manifest, and another that passes its seals."""
    where = tmp_path_factory.mktemp("images")
    image, disk = _image(1)
    (where / "image").write_bytes(image)
    (where / "other").write_bytes(_image(2)[0])
    maker = ManifestMaker()
    check_file(where / "image", manifest=maker)
    check_file(where / "other")
    manifest = maker.finish()
    (where / "manifest").write_bytes(manifest)
    return where, disk, manifest_digest(manifest)


@pytest.fixture
def switch():
    if missing():
        pytest.skip(missing())
    with Switch(2) as switch:
        yield switch


@contextmanager
def _stranger(switch, kind, image):
    own = f"10.98.0.{STRANGER + 1}"
    script = str(Path(__file__).with_name("stranger.py"))
    line = ["ip", "netns", "exec", switch.hosts[STRANGER], sys.executable, script, kind, own]
    line += [switch.group, str(switch.port), SERVER, str(image)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"up\n"
            yield
        finally:
            process.kill()


def _load(switch, images, kind, disk, *options):
    """Load beside a stranger; return status, what was said, and the last event."""
    where, _, digest = images
    manifest = ["--manifest", str(where / "manifest"), "--manifest-digest", digest]
    with (
        switch.serving(where / "image", "-W", "60000000") as server,
        _stranger(switch, kind, where / "other"),
    ):
        options = ["--as-device", "--json", "-q", "--verify", *manifest, *options]
        client = switch.client(CLIENT, disk, *options, stdout=subprocess.PIPE)
        out, said = client.communicate(timeout=170)
        assert server.poll() is None
    return client.returncode, said.decode(), json.loads(out.splitlines()[-1])


def _blank(path):
    path.write_bytes(b"\xaa" * (CHUNKS * 700 << 10))
    return path


@pytest.mark.parametrize("kind", [*FROM_ELSEWHERE, "leave", "one"])
@pytest.mark.parametrize("is_told", [True, False], ids=["told the server", "not told"])
def test_what_does_not_come_from_the_server_stops_nobody(switch, images, tmp_path, kind, is_told):
    options = ["-T", "40", *(["-S", SERVER] if is_told else [])]
    disk = _blank(tmp_path / "disk")
    status, said, last = _load(switch, images, kind, disk, *options)
    assert status == 0, said
    assert disk.read_bytes() == images[1]
    assert last["server"] == SERVER
    if kind in {"sizes", "babble"} or (kind == "answer" and is_told):
        own = f"10.98.0.{STRANGER + 1}"
        assert own in [each["address"] for each in last["ignored"]]
        assert f"Ignored what came from {own}: " in said


@pytest.mark.parametrize("kind", IN_ITS_NAME)
def test_what_comes_in_the_name_of_the_server_is_not_written(switch, images, tmp_path, kind):
    disk = _blank(tmp_path / "disk")
    status, said, last = _load(switch, images, kind, disk, "-T", "6", "-S", SERVER)
    if status == 0:
        assert disk.read_bytes() == images[1]
    else:
        assert status == 110, said
        assert last["error"].startswith("*** No chunk that the manifest vouches for in ")
        assert f"somebody on the network sends in the name of {SERVER}" in said.splitlines()[-1]
        assert last["chunks_rejected"] > 0


def test_a_server_of_another_image_writes_nothing(switch, images, tmp_path):
    where, _, digest = images
    disk = _blank(tmp_path / "disk")
    manifest = ["--manifest", str(where / "manifest"), "--manifest-digest", digest]
    with switch.serving(where / "other", "-W", "100000000"):
        client = switch.client(CLIENT, disk, "--as-device", "-T", "2", *manifest)
        said = client.communicate(timeout=60)[1].decode()
    assert client.returncode == 110, said
    assert disk.read_bytes() == b"\xaa" * (CHUNKS * 700 << 10)
