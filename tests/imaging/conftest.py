"""Disks made with the real mkfs, and restores onto targets full of junk."""

import contextlib
import lzma
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from proving.places import flush

from rhubarbe.imaging import imagedump, imageunzip, imagezip
from rhubarbe.ndz.deflate import BATCH, Batch, Deflater
from rhubarbe.ndz.header import CHUNK, HEADER_AREA, Region, parse_header

DATA = Path(__file__).parents[1] / "data"
JUNK = b"\xaa" * 512
os.environ["PATH"] += ":/usr/sbin:/sbin"


class Tools:
    """What the tests of this folder share."""

    data = DATA

    @staticmethod
    def run(*command, **options):
        """Run a program that must succeed, and return what it printed."""
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, **options
        )
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    @staticmethod
    def need(*programs):
        """Skip the test where a program is missing."""
        missing = [program for program in programs if not shutil.which(program)]
        if missing:
            pytest.skip(f"needs {', '.join(missing)}, which is not installed")

    @staticmethod
    def junk(path, size):
        """Make a file full of what no test ever stores."""
        path.write_bytes(JUNK * (size // 512))
        return path

    @staticmethod
    def noise(count, seed=0):
        return random.Random(seed).randbytes(count)

    @staticmethod
    def noisy(path, size):
        """Make a file full of what does not compress: whoever stores all of it is found out."""
        mib = random.Random(size).randbytes(1 << 20)
        with path.open("wb") as file:
            for start in range(0, size, len(mib)):
                file.write(mib[: size - start])
        return path

    @staticmethod
    def headers(image):
        """The header of each chunk of an image."""
        data = image.read_bytes()
        areas = (data[at : at + HEADER_AREA] for at in range(0, len(data), CHUNK))
        return [parse_header(area, place) for place, area in enumerate(areas)]

    @staticmethod
    def share(image, disk, used):
        """How large the image is, as a multiple of what the used bytes alone deflate to.

        `used` are (start, end) in bytes of the disk. The padding of the chunks does not count.
        """
        with disk.open("rb") as file:
            data = bytearray()
            for start, end in used:
                file.seek(start)
                data += file.read(end - start)
        deflater, alone = Deflater(), 0
        for start in range(0, len(data), BATCH):
            part = memoryview(data)[start : start + BATCH]
            alone += len(deflater.deflate(Batch((Region(0, len(part) // 512),), part)).deflated)
        return sum(header.size for header in Tools.headers(image)) / alone

    @staticmethod
    def rest(free, size):
        """The ranges between the free ones, which ascend, up to `size`."""
        reach, used = 0, []
        for start, end in [*free, (size, size)]:
            if start > reach:
                used.append((reach, start))
            reach = max(reach, end)
        return used

    @staticmethod
    def with_edges(used, size):
        """The used ranges in bytes of a partition of `size`, and both its ends, joined.

        Both ends are always stored: what was there before would be found in them.
        """
        first = (0, min((4 << 20) + (64 << 10), size))
        joined = []
        for start, end in sorted([*used, first, (max(size - (2 << 20), 0), size)]):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined

    @staticmethod
    def files(directory=None, *, count=40, seed=0, largest=60000):
        """Make files of many sizes, in the directory if given; return name -> bytes."""
        made = {}
        for number in range(count):
            chance = random.Random(seed * 1000 + number)
            text = b"%d %d\n" % (seed, number) * chance.randrange(1, 3000)
            made[f"f{number}"] = chance.randbytes(chance.randrange(1, largest)) + text
        if directory:
            directory.mkdir(parents=True, exist_ok=True)
            for name, data in made.items():
                (directory / name).write_bytes(data)
        return made


@pytest.fixture(scope="session")
def tools():
    return Tools


@pytest.fixture(scope="session")
def small_image():
    def read(name):
        return lzma.decompress((DATA / "ndz" / f"{name}.ndz.xz").read_bytes())

    return read


@contextlib.contextmanager
def _attached(path, sector_size=512, *options):
    command = ["losetup", "-f", "--show", "-b", sector_size, *options, path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop devices on this machine: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        flush(device)
        Tools.run("losetup", "-d", device)


@pytest.fixture
def attached():
    """Attach a file to a loop device: a context manager that gives the device."""
    Tools.need("losetup")
    if os.getuid():
        pytest.skip("needs root for loop devices")
    return _attached


@pytest.fixture
def loop(attached):
    """Attach files to loop devices, for the length of the test."""
    with contextlib.ExitStack() as devices:
        yield lambda *arguments: devices.enter_context(attached(*arguments))


@pytest.fixture
def programs(tmp_path):
    """The three programs, called in this process, which must succeed unless told otherwise."""

    class Programs:
        def zip(self, *arguments, status=0):
            assert imagezip.main(list(map(str, arguments))) == status

        def unzip(self, *arguments, status=0):
            assert imageunzip.main(list(map(str, arguments))) == status

        def dump(self, *arguments, status=0):
            assert imagedump.main(list(map(str, arguments))) == status

        def restore_on_junk(self, image, size, *options):
            target = tmp_path / "restored.img"
            Tools.junk(target, size)
            self.unzip("--as-device", "--verify", *options, image, target)
            return target

    return Programs()
