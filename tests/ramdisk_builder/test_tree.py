import stat

import pytest

from rhubarbe.ramdisk_builder.errors import TreeError
from rhubarbe.ramdisk_builder.tree import Tree


def paths(tree):
    return [path for path, _ in tree]


def test_directories_come_by_themselves_and_before_what_is_in_them():
    tree = Tree()
    tree.add_file("etc/ssh/config", "x")
    assert paths(tree) == ["etc", "etc/ssh", "etc/ssh/config"]
    assert tree["etc"].mode == stat.S_IFDIR | 0o755


def test_a_directory_keeps_what_is_in_it_when_its_mode_changes():
    tree = Tree()
    tree.add_file("root/file", b"x")
    tree.add_directory("root", 0o700)
    assert tree["root"].mode == stat.S_IFDIR | 0o700
    assert tree["root/file"].read() == b"x"


def test_what_is_added_below_a_link_goes_where_the_link_points():
    tree = Tree()
    tree.add_directory("usr/lib")
    tree.add_link("lib", "usr/lib")
    tree.add_link("usr/lib64", "lib")
    tree.add_file("lib/a", b"a")
    tree.add_file("usr/lib64/b", b"b")
    assert "usr/lib/a" in tree
    assert "usr/lib/b" in tree
    assert tree.resolve("lib/a") == "usr/lib/a"


def test_a_link_itself_can_be_replaced():
    tree = Tree()
    tree.add_link("usr/sbin/mke2fs", "/usr/bin/busybox")
    tree.add_program("usr/sbin/mke2fs", b"real")
    assert tree["usr/sbin/mke2fs"].read() == b"real"
    assert tree["usr/sbin/mke2fs"].mode == stat.S_IFREG | 0o755


def test_content_may_be_read_from_a_file_later(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    tree = Tree()
    tree.add_file("file", tmp_path / "file")
    assert tree["file"].read() == b"content"


@pytest.mark.parametrize("path", ["", "/etc/passwd", "etc/../../x"])
def test_a_path_stays_inside(path):
    with pytest.raises(TreeError, match="no path"):
        Tree().add_file(path, b"")


def test_nothing_lies_below_a_file():
    tree = Tree()
    tree.add_file("etc", b"")
    with pytest.raises(TreeError, match="etc is a file"):
        tree.add_file("etc/passwd", b"")
