"""What somebody else laid under a name that is to be written is left alone, and said."""

import os

import pytest

from rhubarbe.imaging.devices import open_target
from rhubarbe.imaging.errors import TargetError
from rhubarbe.imaging.output import open_output

ALICE = 4001
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a link away")


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / "precious"
    path.write_text("precious")
    path.chmod(0o600)
    return path


def laid(kind, path, precious):
    """Lay something there as another user would."""
    if kind == "link":
        path.symlink_to(precious)
    elif kind == "hard link":
        path.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("alice's")
        os.chown(path, ALICE, ALICE)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", pytest.param("file", marks=as_root)])
def test_what_lies_under_the_partial_name_is_left_alone(kind, tmp_path, precious):
    partial = tmp_path / "image.ndz.partial"
    laid(kind, partial, precious)
    before = partial.lstat().st_ino
    said = "image.ndz.partial: is in the way"
    with pytest.raises(TargetError, match=said), open_output(str(tmp_path / "image.ndz")):
        pass
    assert precious.read_text() == "precious"
    assert partial.lstat().st_ino == before
    assert not (tmp_path / "image.ndz").exists()


def test_a_part_that_we_left_is_begun_anew(tmp_path):
    (tmp_path / "image.ndz.partial").write_text("older and longer")
    with open_output(str(tmp_path / "image.ndz")) as output:
        output.write(b"new")
    assert (tmp_path / "image.ndz").read_bytes() == b"new"


@as_root
@pytest.mark.parametrize("leads", ["precious", "nowhere", "ours"])
def test_a_link_of_a_stranger_is_not_followed(leads, tmp_path, precious):
    (tmp_path / "ours").symlink_to("precious")
    link = tmp_path / "disk.img"
    link.symlink_to(leads)
    os.chown(link, ALICE, ALICE, follow_symlinks=False)
    (tmp_path / "by way of ours").symlink_to("disk.img")
    for path in (link, tmp_path / "by way of ours"):
        with pytest.raises(TargetError, match=r"disk\.img: is a link that another user made"):
            open_target(str(path), creates=True)
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_links_of_ours_and_of_the_kernel_are_followed(tmp_path, precious):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(precious)
    os.close(open_target(str(tmp_path / "one"), creates=True))
    assert precious.read_bytes() == b""
    (tmp_path / "new").symlink_to(tmp_path / "made")
    os.close(open_target(str(tmp_path / "new"), creates=True))
    assert (tmp_path / "made").exists()
    with precious.open("r+b") as file:
        os.close(open_target(f"/dev/fd/{file.fileno()}", creates=False))
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(TargetError, match="links"):
        open_target(str(tmp_path / "round"), creates=True)
