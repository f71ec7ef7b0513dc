"""Manifests that somebody made up or damaged: the readers refuse them in a line, or read them."""

import random
import resource
import struct
import zlib

import pytest

from rhubarbe.frisbee.errors import FrisbeeError
from rhubarbe.frisbee.settings import read_settings
from rhubarbe.imaging.errors import ImagingError
from rhubarbe.imaging.vouching import extent_of, read_manifest
from rhubarbe.ndz.errors import NdzError
from rhubarbe.ndz.header import Region
from rhubarbe.ndz.manifest import ManifestMaker, Vouched

MARK, HEADER, DIGESTS = b"NDZMANI\0", 24, 32
MOST_MORE = 200 << 20
CLIENT = ["-m", "239.1.1.1", "-p", "9", "/dev/null"]


def sample(chance):
    maker, reach = ManifestMaker(), 0
    for _ in range(chance.randint(1, 30)):
        first = reach = reach + chance.choice([0, 1, 8, 5000])
        regions = []
        for _ in range(chance.randint(0, 20)):
            regions.append(Region(reach + chance.randint(0, 500), chance.randint(1, 900)))
            reach = regions[-1].end
        digests = chance.randbytes(16), chance.randbytes(16)
        maker.add(Vouched(*digests, tuple(regions), first, reach))
    return maker.finish()


def some_bytes(data, chance):
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return data


def cut(data, chance):
    return data[: chance.randrange(len(data))]


def longer(data, chance):
    return data + chance.randbytes(chance.randint(1, 300))


def header(data, chance):
    counts = [0, 1, 2_000_000, (1 << 32) - 1, chance.randrange(200_000)]
    sizes = [0, 1 << 26, (1 << 32) - 1, chance.randrange(1_000_000)]
    kind, rest = chance.choice([1, 2, 3]), chance.choice([0, 0, 0, 1])
    data[8:HEADER] = struct.pack(
        "<HHIII",
        chance.choice([1, 1, 1, 2]),
        kind,
        chance.choice(counts),
        chance.choice(sizes),
        rest,
    )
    return data


def numbers(data, chance):
    """Change what is deflated, and deflate it again, with a header that is true of it."""
    chunks = struct.unpack_from("<I", data, 12)[0]
    end = HEADER + DIGESTS * chunks
    inflated = bytearray(zlib.decompress(data[end:]))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(inflated) + 1)
        some = bytes([chance.choice([0, 1, 127, 128, 255])])
        more = chance.choice([chance.randbytes(3), some, some * 500, some * 20_000, b""])
        inflated[at : at + chance.choice([0, 1, 9])] = more
    chunks = chance.choice([chunks, chunks, chance.randint(1, chunks + 3)])
    made = struct.pack("<8sHHIII", MARK, 1, chance.choice([1, 2]), chunks, len(inflated), 0)
    return made + data[HEADER:end] + zlib.compress(bytes(inflated))


def bomb(_, chance):
    said = chance.choice([5, 1 << 20, 60 << 20])
    made = struct.pack("<8sHHIII", MARK, 1, 1, 1, said, 0)
    return made + bytes(DIGESTS) + zlib.compress(bytes(chance.choice([1 << 20, 8 << 20])), 1)


WAYS = [some_bytes, cut, longer, header, *[numbers] * 6, bomb]


def of_imageunzip(path):
    return read_manifest(path, None)


def of_frisbee(path):
    return read_settings(["--manifest", path, *CLIENT]).manifest()


@pytest.mark.parametrize(
    "count", [200, pytest.param(20_000, marks=[pytest.mark.full, pytest.mark.timeout(1800)])]
)
def test_no_manifest_does_more_than_be_refused(tmp_path, count):
    chance, path = random.Random(count), tmp_path / "manifest"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = {True: 0, False: 0}
    for number in range(count):
        if number % 20 == 0:
            good = sample(chance)
        path.write_bytes(chance.choice(WAYS)(bytearray(good), chance))
        ends[reads(of_imageunzip, path)] += 1
        ends[reads(of_frisbee, path)] += 1
    assert min(ends.values()) > 0  # of both kinds, or nothing was tried
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert more << 10 < MOST_MORE


def reads(reader, path):
    """Read a manifest as far as a restore does; return whether it was taken."""
    try:
        manifest = reader(str(path))
    except (FrisbeeError, ImagingError, NdzError) as error:
        said = str(error)
        assert said.startswith(f"{path}: manifest: ")
        assert len(said) < len(str(path)) + 120
        assert said.isprintable()
        return False
    for index in {0, manifest.chunks // 2, manifest.chunks - 1}:
        regions = manifest.vouched(index).regions
        assert all(region.size > 0 and region.end < 1 << 32 for region in regions)
    assert extent_of(manifest).covered == manifest.covered
    return True
