"""A testbed lives in a directory that is nobody else's: it writes there by fixed names."""

import os

import pytest

from rhubarbe.testbed.errors import NoRoom
from rhubarbe.testbed.ground import MARK, occupy

ALICE = 4001
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")


def test_it_is_made_closed_to_others_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        os.close(occupy(tmp_path / "above" / "testbed"))
    finally:
        os.umask(before)
    assert (tmp_path / "above" / "testbed").stat().st_mode & 0o777 == 0o755
    os.close(occupy(tmp_path / "above" / "testbed"))


@as_root
def test_one_that_another_made_is_left_alone(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    theirs = tmp_path / "testbed"
    theirs.mkdir()
    (theirs / MARK).symlink_to(precious)
    os.chown(theirs, ALICE, ALICE)
    with pytest.raises(NoRoom, match="belongs to another user"):
        occupy(theirs)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o1777, 0o757, pytest.param(0o2775, marks=as_root)])
def test_one_where_others_may_write_is_left_alone(mode, tmp_path):
    shared = tmp_path / "testbed"
    shared.mkdir()
    if os.getuid() == 0:
        os.chown(shared, 0, ALICE)
    shared.chmod(mode)
    with pytest.raises(NoRoom, match="others may write there"):
        occupy(shared)
    assert not any(shared.iterdir())


def test_a_diary_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "testbed").mkdir(mode=0o755)
    (tmp_path / "testbed" / MARK).symlink_to(tmp_path / "precious")
    with pytest.raises(NoRoom, match="is a link"):
        occupy(tmp_path / "testbed")
    assert (tmp_path / "precious").read_text() == "precious"
