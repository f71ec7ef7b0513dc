"""Whatever the disk: what is restored is right, by the system's own tools, or was refused."""

import shutil

import pytest
from proving.kinds import KINDS, SMALL
from proving.lives import FOUND, LIVES
from proving.places import MIB, run, sparse
from proving.proof import Source, restore
from proving.report import PROPERTY
from proving.tables import TABLES
from proving.targets import TARGETS, fetch, unzip

OF_TABLES = {"smaller", "no backup"}
NEEDED = ("sfdisk", "sgdisk", "wipefs", "blkid")


def prove(source, image, names, turn, *, by=unzip):
    """Restore the image onto these targets; return what became of each, and what is wrong."""
    is_table = source.disk.label != "none"
    names = [name for name in names if is_table or name not in OF_TABLES]
    verdicts = [restore(source, image, name, turn + n, by=by) for n, name in enumerate(names)]
    shutil.rmtree(source.directory)
    wrong = [str(verdict) for verdict in verdicts if verdict.faults]
    return {verdict.target: verdict.became for verdict in verdicts}, "\n".join(wrong)


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", KINDS)
def test_right_or_refused(kind, table, sector, tools, attached, tmp_path, record_property):  # noqa: PLR0917
    tools.need(*NEEDED, "mdadm", *KINDS[kind].needs)
    del attached  # which skips where there are no loop devices
    turn = list(TABLES).index(table) + 3 * (sector == 4096) + list(KINDS).index(kind)
    source = Source(tmp_path, KINDS[kind], table, sector)
    # What nothing in a file tells, the device does: the size of its sectors.
    is_told = table != "none" and KINDS[kind] is not KINDS["raw"]
    image = source.save(by_device=bool(turn % 2) or not is_told)
    cells, wrong = prove(source, image, TARGETS, turn)
    record_property(PROPERTY, {"row": (kind, table, sector), "cells": cells})
    assert not wrong, wrong


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize(
    ("kind", "table"),
    [("ext4", "mbr"), ("btrfs", "gpt"), ("xfs", "logical"), ("swap", "gpt"), ("ntfs", "none")],
)
def test_right_or_refused_by_frisbee(  # noqa: PLR0917
    kind, table, sector, tools, attached, tmp_path, record_property
):
    tools.need(*NEEDED, "mdadm", *KINDS[kind].needs)
    del attached
    turn = len(kind)
    source = Source(tmp_path, KINDS[kind], table, sector)
    cells, wrong = prove(source, source.save(), TARGETS, turn, by=fetch)
    record_property(PROPERTY, {"row": (f"{kind}, by frisbee", table, sector), "cells": cells})
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("kind", "table", "names"),
    [
        ("ext4", "mbr", ["same", "larger", "cut"]),
        ("swap", "logical", ["same", "larger"]),
        ("raw", "gpt", ["same", "larger", "smaller", "no backup"]),
    ],
)
def test_right_or_refused_without_root(kind, table, names, tools, tmp_path):
    """Three of them, on files, so that they are tried with each change."""
    tools.need(*NEEDED, *SMALL[kind].needs)
    source = Source(tmp_path, SMALL[kind], table, 512)
    _, wrong = prove(source, source.save(), names, 2 * len(kind))
    assert not wrong, wrong


@pytest.mark.parametrize("life", LIVES)
def test_former_lives_are_seen_by_the_tools(tools, tmp_path, life):
    """Else it would prove nothing that they are gone."""
    tools.need("wipefs", "sfdisk", "mkfs.btrfs" if life == "volumes" else "wipefs")
    disk = sparse(tmp_path / "disk.img", 128 * MIB)
    LIVES[life](disk)
    rows = [line for line in run("wipefs", "-np", disk).splitlines() if line[0] != "#"]
    found = {row.split(",")[3] for row in rows}
    assert found == FOUND[life]
