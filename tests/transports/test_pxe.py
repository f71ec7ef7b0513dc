"""Nextboot links: made at once, removed when they are ours, on every way out."""

import os
import threading
from pathlib import Path

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.transports.pxe import NextBoot

MAC = "02:00:00:00:00:0A"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")


@pytest.fixture
def next_boot(tmp_path):
    (tmp_path / "pxefrisbee").touch()
    return NextBoot(tmp_path, MAC, "pxefrisbee")


def test_the_link_is_relative_and_named_by_the_mac_in_lower_case(next_boot, tmp_path):
    next_boot.set()
    assert next_boot.path == tmp_path / "01-02-00-00-00-00-0a"
    assert next_boot.path.readlink() == Path("pxefrisbee")
    assert next_boot.is_set
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "01-02-00-00-00-00-0a",
        "pxefrisbee",
    ]


@pytest.mark.parametrize("target", ["other", "nowhere", "pxefrisbee"])
def test_any_other_link_is_replaced(next_boot, target):
    next_boot.path.symlink_to(target)
    next_boot.set()
    assert next_boot.path.readlink() == Path("pxefrisbee")


def test_a_file_in_its_place_is_replaced(next_boot):
    next_boot.path.write_text("default local\n")
    next_boot.set()
    assert next_boot.path.is_symlink()


def test_it_is_replaced_at_once(next_boot):
    next_boot.path.symlink_to("other")
    missing, over = [], threading.Event()

    def watch():
        while not over.is_set():
            if not next_boot.is_set:
                missing.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(300):
            next_boot.set()
    finally:
        over.set()
        watcher.join()
    assert not missing


def test_a_dangling_link_is_a_link(next_boot, tmp_path):
    (tmp_path / "pxefrisbee").unlink()
    next_boot.set()
    assert next_boot.is_set
    next_boot.remove()
    assert not next_boot.is_set


def test_only_a_link_to_our_entry_is_removed(next_boot):
    next_boot.path.symlink_to("pxerescue")
    next_boot.remove()
    assert next_boot.path.readlink() == Path("pxerescue")


def test_removing_what_is_not_there_is_nothing(next_boot):
    next_boot.remove()
    assert not next_boot.is_set


def test_a_file_in_its_place_is_told_and_stays(next_boot):
    next_boot.path.write_text("default local\n")
    with pytest.raises(GatewayError, match=r"01-02.*cannot be removed, do it by hand"):
        next_boot.remove()
    assert next_boot.path.read_text() == "default local\n"


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_link_goes_on_every_way_out(next_boot, error):
    def hold():
        with next_boot.linked():
            assert next_boot.is_set
            if error:
                raise error

    if error:
        with pytest.raises(error):
            hold()
    else:
        hold()
    assert not next_boot.is_set


def test_a_missing_entry_is_named(next_boot, tmp_path):
    next_boot.require_entry()
    (tmp_path / "pxefrisbee").unlink()
    with pytest.raises(GatewayError, match=r"pxefrisbee: no such boot entry; see frisbee_image"):
        next_boot.require_entry()


def test_a_missing_directory_is_named_and_holds_nothing(tmp_path):
    next_boot = NextBoot(tmp_path / "nowhere", MAC, "pxefrisbee")
    with pytest.raises(GatewayError, match=r"nowhere/01-.*cannot be made"), next_boot.linked():
        raise AssertionError("entered without a link")
    next_boot.remove()


def test_what_cannot_be_replaced_leaves_no_draft(next_boot, tmp_path):
    next_boot.path.mkdir()
    with pytest.raises(GatewayError, match="cannot be made"):
        next_boot.set()
    assert sorted(path.name for path in tmp_path.iterdir()) == [next_boot.path.name, "pxefrisbee"]


def test_one_that_stays_goes_on_any_way_out_but_the_good_one(next_boot):
    with next_boot.linked(stays=True):
        assert next_boot.target == "pxefrisbee"
    assert next_boot.is_set
    with pytest.raises(KeyboardInterrupt), next_boot.linked(stays=True):
        raise KeyboardInterrupt
    assert not next_boot.is_set
    assert next_boot.target is None


def test_a_directory_that_is_a_link_of_ours_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "pxelinux.cfg").symlink_to("real")
    (tmp_path / "ramdisk.cfg").touch()
    (tmp_path / "real" / "ramdisk").symlink_to("../ramdisk.cfg")
    (tmp_path / "real").chmod(0o2775)
    link = NextBoot(tmp_path / "pxelinux.cfg", MAC, "ramdisk")
    link.require_entry()
    with link.linked():
        assert (tmp_path / "real" / link.path.name).readlink() == Path("ramdisk")
    assert not link.is_set


@as_root
@pytest.mark.parametrize("what", ["pxelinux.cfg", "link"])
def test_what_a_stranger_owns_boots_no_node(tmp_path, what):
    (tmp_path / "pxelinux.cfg").mkdir()
    (tmp_path / "pxelinux.cfg" / "entry").touch()
    (tmp_path / "pxelinux.cfg" / "ramdisk").symlink_to("entry")
    (tmp_path / "link").symlink_to("pxelinux.cfg")
    os.chown(tmp_path / what, 4001, 4001, follow_symlinks=False)
    link = NextBoot(tmp_path / "link", MAC, "ramdisk")
    with pytest.raises(GatewayError, match=r"uid 4001"):
        link.require_entry()
    with pytest.raises(GatewayError, match=r"01-02.*cannot be made.*uid 4001"):
        link.set()
    assert not (tmp_path / "pxelinux.cfg" / link.path.name).is_symlink()


def test_a_directory_that_takes_no_link_is_one_line(tmp_path):
    (tmp_path / "pxelinux.cfg").write_text("a file, where a directory should be")
    link = NextBoot(tmp_path / "pxelinux.cfg", "02:00:00:00:00:01", "ramdisk")
    with pytest.raises(GatewayError, match="the nextboot link cannot be made: Not a directory"):
        link.set()
