"""What `imagedump --check` refuses, `imageunzip` refuses, and the other way round."""

import random
import struct
import zlib

import pytest

from rhubarbe.imaging import imageunzip
from rhubarbe.ndz.check import check_file
from rhubarbe.ndz.errors import NdzError
from rhubarbe.ndz.header import CHUNK, Region
from rhubarbe.ndz.seal import Seal, seal_chunk

INTERESTING = [
    0,
    1,
    2,
    7,
    8,
    63,
    64,
    100,
    500,
    512,
    4096,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    2**32 - 1,
]
COMMON_FIELDS = range(0, 36, 4)


class Draft:
    """A chunk as its fields, any of which a test may spoil."""

    def __init__(self, chance, version, index, count, *, sealed):
        self.version, self.index, self.sealed = version, index, sealed
        self.first = index * 64
        self.last = self.first + 64
        self.regions = [[self.first, 8], [self.first + 16, 16]]
        self.relocations = []
        self.total = count
        self.data = chance.randbytes(16) * (24 * 32)
        self.seal = Seal(
            image_id=b"i" * 16, index=index, total=count if index == count - 1 else 0,
            is_last=index == count - 1, data_check=zlib.crc32(self.data),
        )  # fmt: skip

    def pack(self, chance, *, spoils):
        body = zlib.compress(self.data, 1)
        magic = 0x69696968 + self.version
        total = self.total if self.version == 1 else 0
        area = struct.pack("<IIiiii", magic, len(body), self.index, total, 4096, len(self.regions))
        if self.version > 1:
            area += struct.pack("<III", self.first, self.last, len(self.relocations))
        if self.version == 4:
            area += bytes(292) + b"u" * 16
        area += b"".join(struct.pack("<II", *each) for each in self.regions)
        if self.version > 1:
            area += b"".join(struct.pack("<IIII", *each) for each in self.relocations)
        chunk = bytearray((area.ljust(4096, b"\0") + body).ljust(CHUNK, b"\0"))
        if spoils:
            at = chance.choice([*COMMON_FIELDS, chance.randrange(0, len(area), 4)])
            chunk[at : at + 4] = chance.choice(INTERESTING).to_bytes(4, "little")
        if self.sealed:
            seal_chunk(chunk, self.seal)
        return chunk


def spoil(chance, drafts):
    """Spoil the drafts of an image in one of many ways; return them in the order of the file."""
    draft = chance.choice(drafts)
    value = chance.choice([*INTERESTING, draft.first, draft.last, draft.first + 1, draft.last - 1])
    ways = [
        lambda: setattr(draft, "index", value & 0x7FFFFFFF),
        lambda: setattr(draft, "total", chance.choice([0, 1, 2, 3, 4])),
        lambda: setattr(draft, "first", value),
        lambda: setattr(draft, "last", value),
        lambda: setattr(draft, "version", chance.choice([1, 2, 3, 4])),
        lambda: setattr(draft, "sealed", not draft.sealed),
        lambda: setattr(draft, "data", draft.data[: chance.choice([0, 511, 512, -1])]),
        lambda: setattr(draft, "data", draft.data + bytes(chance.choice([1, 512]))),
        lambda: draft.regions.reverse(),
        lambda: draft.regions.append([draft.first, 8]),
        lambda: draft.regions[-1:] and draft.regions[-1].__setitem__(chance.randrange(2), value),
        lambda: draft.regions.clear(),
        lambda: draft.relocations.append(
            [chance.choice([0, 1, 2, 3, 4, 5, 6, 6, 100]), chance.choice([value, draft.first + 31]),
             chance.choice([0, 4, 511, value]), chance.choice([5, 100, 512, 513, value])]
        ),
        lambda: setattr(draft, "seal", spoiled_seal(chance, draft.seal)),
        lambda: drafts.remove(draft),
        lambda: drafts.insert(chance.randrange(len(drafts)), draft),
        lambda: chance.shuffle(drafts),
        lambda: move(draft, chance.choice([-65, -64, -1, 1, 64, 65])),
    ]  # fmt: skip
    chance.choice(ways)()


def move(draft, by):
    """Move all that a chunk covers."""
    draft.first, draft.last = max(draft.first + by, 0), max(draft.last + by, 0)
    for region in draft.regions:
        region[0] = max(region[0] + by, 0)


def spoiled_seal(chance, seal):
    fields = {name: getattr(seal, name) for name in seal.__slots__}
    other = {
        "image_id": b"j" * 16, "index": chance.randrange(4), "total": chance.randrange(5),
        "is_last": not seal.is_last, "data_check": seal.data_check ^ 1, "sector_size": 1024,
        "digest": bytes(16), "untrue": (Region(3, 4),),
    }  # fmt: skip
    name = chance.choice(list(other))
    return Seal(**{**fields, name: other[name]})


def spoiled_image(chance):
    version, sealed, count = (
        chance.choice([1, 2, 3, 4]),
        chance.random() < 0.5,
        chance.randint(1, 3),
    )
    drafts = [Draft(chance, version, index, count, sealed=sealed) for index in range(count)]
    for _ in range(chance.choice([0, 1, 1, 1, 2])):
        if drafts:
            spoil(chance, drafts)
    wanted = chance.randrange(12)
    image = b"".join(
        draft.pack(chance, spoils=place == wanted) for place, draft in enumerate(drafts)
    )
    if chance.random() < 0.03:
        image = image[: chance.randrange(len(image) + 1)]
    if image and chance.random() < 0.2:
        image = bytearray(image)
        image[chance.randrange(len(image)) & ~0xFE000] ^= 1 << chance.randrange(8)
    return image


def verdicts(image, directory, options=()):
    """What the check says, and what a restore does."""
    path, output = directory / "image.ndz", directory / "output"
    path.write_bytes(image)
    output.unlink(missing_ok=True)
    try:
        check_file(path, threads=1)
        refusal = ""
    except NdzError as error:
        refusal = str(error)
    return refusal, imageunzip.main([*options, str(path), str(output)])


ODD = ("its chunks are out of order", "images one after the other", "bytes follow")
"""A restore takes, and says so, what the check of an image that is to be served does not."""


def compare(seeds, directory, capsys):
    counts = [0, 0]
    for seed in seeds:
        chance = random.Random(seed)
        image = spoiled_image(chance)
        refusal, status = verdicts(image, directory, chance.choice([(), ("-n",), ("-z",)]))
        said = capsys.readouterr().err
        if not any(words in said for words in ODD):
            assert bool(refusal) == bool(status), (seed, refusal, said)
        assert not status or len(said.splitlines()) == 1, (seed, said)
        counts[bool(refusal)] += 1
    assert min(counts) > len(seeds) / 20
    return counts


def test_check_and_restore_agree_on_spoiled_images(tmp_path, capsys):
    compare(range(60), tmp_path, capsys)


@pytest.mark.full
def test_check_and_restore_agree_on_thousands_of_spoiled_images(tmp_path, capsys):
    compare(range(1000, 4000), tmp_path, capsys)
