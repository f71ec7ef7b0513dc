"""Disks made with the real mkfs, and restores onto targets full of junk."""

import lzma
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from rhubarbe.imaging import imagedump, imageunzip, imagezip

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
    def files(directory, *, count=40, seed=0):
        """Fill a directory with files of many sizes; return name -> bytes."""
        made = {}
        for number in range(count):
            chance = random.Random(seed * 1000 + number)
            text = b"%d %d\n" % (seed, number) * chance.randrange(1, 3000)
            made[f"f{number}"] = chance.randbytes(chance.randrange(1, 60000)) + text
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
