"""The client's memory: what -C and -W say, and 60 MB, however large the image."""

import os
import random
import subprocess
import sys
import zlib

import pytest
from programs import Network, program

from rhubarbe.ndz.header import ChunkHeader, Region

CLIENT = """
import sys
from pathlib import Path
from rhubarbe.frisbee.client import main
status = main(sys.argv[1:])
peak, = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(peak.split()[1])
sys.exit(status)
"""
BASE_MIB = 60

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def network():
    return Network()


def _image(path, chunks, noise, zeroes, regions):
    """Chunks of so many bytes of noise and zeroes, in so many regions; most of the file is a hole.

    All chunks hold the same, to be made quickly: only their headers differ.
    """
    data = random.Random(7).randbytes(noise) + bytes(zeroes)
    packed = zlib.compress(data, 1)
    sectors = len(data) // 512
    step, size = 2 * sectors, sectors // regions
    with path.open("wb") as file:
        for index in range(chunks):
            header = ChunkHeader(
                version=2,
                size=len(packed),
                index=index,
                first=index * step,
                last=(index + 1) * step,
                regions=tuple(
                    Region(index * step + number * 2 * size, size) for number in range(regions)
                ),
            )
            file.seek(index << 20)
            file.write(header.pack() + packed)
        file.truncate(chunks << 20)
    return path


def _peak_mib(network, disk, *options):
    """Run a client; return the most memory that it had, in MiB."""
    line = [sys.executable, "-c", CLIENT, "-q", "-i", network.client(0), *network.session]
    done = subprocess.run([*line, *options, str(disk)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1024


@pytest.mark.parametrize(
    "chunks",
    [
        6,
        pytest.param(100, marks=pytest.mark.full),
        pytest.param(4096, marks=[pytest.mark.full, pytest.mark.alone]),
    ],
)
def test_it_is_the_same_for_images_of_any_size(network, tmp_path, chunks):
    image = _image(tmp_path / "image.ndz", chunks, 4 << 10, 28 << 10, 8)
    with network.serving(image, "-G", "0"):
        assert _peak_mib(network, "/dev/null", "-C", "4", "-W", "4") < 4 + 4 + BASE_MIB


@pytest.mark.full
def test_it_is_the_same_for_many_regions_that_are_verified(network, tmp_path):
    image = _image(tmp_path / "image.ndz", 700, 4 << 10, 196 << 10, 400)
    with network.serving(image, "-G", "0"):
        peak = _peak_mib(network, tmp_path / "disk", "-C", "4", "-W", "4", "--verify")
    assert peak < 4 + 4 + BASE_MIB


@pytest.mark.full
def test_a_disk_much_slower_than_the_others_fills_no_more_than_its_buffers(network, tmp_path):
    """Chunks that take long to inflate here, while another client asks for all of them."""
    image = _image(tmp_path / "image.ndz", 100, 512 << 10, 64 << 20, 1)
    with network.serving(image, "-G", "0"):
        line = [*program("frisbee"), "-q", "-N", "-i", network.client(1), *network.session]
        with subprocess.Popen([*line, os.devnull], stderr=subprocess.DEVNULL) as other:
            try:
                peak = _peak_mib(network, "/dev/null", "-C", "16", "-W", "8")
            finally:
                other.kill()
    assert peak < 16 + 8 + BASE_MIB
