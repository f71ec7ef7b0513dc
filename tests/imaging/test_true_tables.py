"""Any table that sfdisk makes: onto random junk, what the image holds equals its source."""

import contextlib
import hashlib
import io
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from proving.lives import LIVES, Former
from proving.places import Place
from proving.proof import differences, digest
from proving.random_tables import layouts, make, sizes
from proving.tables import tell_signatures, tell_table

from rhubarbe.imaging import imageunzip, imagezip

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""To make an example shorter takes minutes here, and the tables are short."""


def run(main, *words):
    """Run a program in this process; return its status, and its lines of standard error."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main(list(map(str, words)))
    return status, said.getvalue().strip().splitlines()


def prove_in(factory, data, sector):
    """Prove one example in a directory of its own, which is gone with it."""
    with tempfile.TemporaryDirectory(dir=factory.getbasetemp()) as directory:
        prove(Path(directory), data, sector)


def prove(directory, data, sector):
    """Save a random disk, restore it onto random junk, and compare by the system's tools."""
    layout = data.draw(layouts(sector))
    disk = make(directory / "source.img", layout, sector, data.draw(st.integers(0, 99)))
    size = data.draw(sizes(disk, layout[-1]))
    target = directory / "target.img"
    target.write_bytes(random.Random(size).randbytes(size))
    if life := data.draw(st.sampled_from([None, *LIVES])):
        Former(directory).on(target, 0, size, life)
    before = digest(target)
    image = directory / "image.ndz"
    with disk.whole.device() as device:
        assert run(imagezip.main, device, image)[0] == 0
    with Place(target, 0, size, sector).device(writable=True) as device:
        options = [] if device.startswith("/dev/loop") else ["--as-device"]
        status, said = run(imageunzip.main, *options, "--verify", image, device)
    fits = disk.end + layout[-1] * sector <= size
    assert (status == 0) == fits, said
    if not fits:
        assert len(said) == 1
        assert digest(target) == before
        return
    assert not differences(tell_all(disk), tell_all(disk.on(target)))


def tell_all(disk):
    """Return what the tools say of the table and of the disk, and what is in its partitions."""
    said = tell_table(disk) | tell_signatures(disk.whole)
    with disk.path.open("rb") as file:
        for number, (start, size) in disk.partitions.items():
            file.seek(start)
            said[f"p{number}"] = hashlib.blake2b(file.read(size)).hexdigest()
    return said


@settings(max_examples=12, phases=PHASES)
@given(data=st.data())
def test_any_table(tools, tmp_path_factory, data):
    tools.need("sfdisk", "sgdisk", "wipefs", "blkid")
    prove_in(tmp_path_factory, data, 512)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sector", [512, 4096])
def test_any_table_at_length(tools, attached, tmp_path_factory, sector):
    tools.need("sfdisk", "sgdisk", "wipefs", "blkid", "mdadm")
    del attached

    @settings(max_examples=80, phases=PHASES)
    @given(data=st.data())
    def holds(data):
        prove_in(tmp_path_factory, data, sector)

    holds()
