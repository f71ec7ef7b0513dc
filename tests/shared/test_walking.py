"""Which links are followed on the way along a path, and which are not."""

import os
from pathlib import Path

import pytest

from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import find_file, read_file
from rhubarbe.shared.trust import Distrust

ALICE = 4001
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a link away")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "file").write_text("content")
    return tmp_path


def give(path, uid=ALICE):
    os.chown(path, uid, uid, follow_symlinks=False)


def text(path):
    found = read_file(path, 100)
    return found and found.decode()


@pytest.mark.parametrize(
    "path",
    [
        "real/file", "real/../real/./file", "real//deep/../file", "link/file", "chain/file",
        "link/deep/../file", "absolute/file", "to_file",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "here"])
def test_links_of_ours_are_followed_as_the_kernel_does(place, path, start, monkeypatch):
    (place / "link").symlink_to("real")
    (place / "chain").symlink_to("link")
    (place / "absolute").symlink_to(place / "real")
    (place / "to_file").symlink_to("link/file")
    monkeypatch.chdir(place)
    path = path if start else place / path
    assert text(path) == "content"
    directory, name = Directory.of(path)
    with directory:
        assert directory.where(name) == os.path.realpath(path)


@pytest.mark.parametrize("path", ["", ".", "..", "/", "real", "real/", "real/deep/.."])
def test_a_directory_is_called_by_its_path(place, path, monkeypatch):
    monkeypatch.chdir(place)
    with Directory.open(path or ".", follows=True) as directory:
        assert directory.path == os.path.realpath(path)
        assert os.path.samestat(directory.status, Path(path or ".").stat())


@pytest.mark.parametrize("target", ["loop", "nowhere", "real/nothing", "real/file/x"])
def test_a_link_to_nothing_leads_nowhere(place, target):
    (place / "loop").symlink_to(target)
    assert find_file(place / "loop") is None


@as_root
@pytest.mark.parametrize("target", ["real/file", "real", "/etc/passwd", "nowhere", "/dev/zero"])
@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o777])
def test_a_stranger_s_link_is_not_followed(place, target, mode):
    (place / "link").symlink_to(target)
    give(place / "link")
    place.chmod(mode)
    for path in (place / "link", place / "link" / "file"):
        with pytest.raises(
            Distrust, match=r"link: is a link that uid 4001 made, and is not followed"
        ):
            read_file(path, 100)
    with pytest.raises(Distrust, match="not followed"):
        find_file(place / "link")


@as_root
def test_a_stranger_s_link_is_another_name_of_a_file_beside_it_where_aliases_are(place):
    place.chmod(0o1777)
    (place / "image").write_text("image")
    (place / "alias").symlink_to("image")
    (place / "second").symlink_to("alias")
    (place / "out").symlink_to("../image")
    for name in ("alias", "second", "out"):
        give(place / name)
        with pytest.raises(Distrust):
            find_file(place / name)
    for name in ("alias", "second"):
        directory, found = find_file(place / name, aliases=True)
        with directory:
            assert directory.where(found) == str(place / "image")
    with pytest.raises(Distrust):
        find_file(place / "out", aliases=True)
    (place / "sub").symlink_to("real")
    give(place / "sub")
    with pytest.raises(Distrust):  # no more than the last name
        find_file(place / "sub" / "file", aliases=True)


@pytest.mark.usefixtures("in_a_group_of_many")
@pytest.mark.parametrize(
    ("mode", "may"),
    [
        (0o755, True), (0o1777, True), (0o1775, True),
        (0o777, False), (0o775, False), (0o2775, False),
    ],
)  # fmt: skip
def test_where_others_could_have_renamed_it_no_link_is_followed(place, mode, may):
    (place / "link").symlink_to("real/file")
    place.chmod(mode)
    if may:
        assert text(place / "link") == "content"
    else:
        with pytest.raises(Distrust, match="where others may rename it"):
            text(place / "link")


@as_root
def test_nor_in_a_directory_of_a_stranger(place):
    (place / "link").symlink_to("real/file")
    give(place)
    with pytest.raises(Distrust, match="where others may rename it"):
        text(place / "link")


def test_a_second_name_of_a_link_may_be_a_stranger_s_doing(place):
    place.chmod(0o1777)
    (place / "link").symlink_to("real/file")
    os.link(place / "link", place / "second", follow_symlinks=False)
    with pytest.raises(Distrust):
        text(place / "second")
    place.chmod(0o755)
    assert text(place / "second") == "content"


def test_a_second_name_of_a_file_matters_where_others_may_make_one(place):
    os.link(place / "real" / "file", place / "real" / "second")
    assert text(place / "real" / "second") == "content"
    (place / "real").chmod(0o1777)
    with pytest.raises(Distrust, match="also has another name"):
        text(place / "real" / "second")


@as_root
def test_a_stranger_s_second_name_for_our_file_is_not_taken(place):
    (place / "hers").mkdir()
    os.link(place / "real" / "file", place / "hers" / "file")
    give(place / "hers")
    with pytest.raises(Distrust, match="also has another name"):
        text(place / "hers" / "file")
    os.chown(place / "real" / "file", ALICE, -1)  # her own may have any
    assert text(place / "hers" / "file") == "content"


def test_what_a_directory_was_is_what_it_stays(place, tmp_path):
    directory, name = Directory.of(place / "real" / "file")
    with directory:
        (place / "real").rename(place / "old")
        (place / "real").mkdir()
        (place / "real" / "file").write_text("another")
        assert directory.read(name, 100) == b"content"


def test_a_directory_that_may_be_entered_but_not_read(place):
    (place / "real").chmod(0o711)
    assert text(place / "real" / "file") == "content"


def test_in_a_directory_that_is_gone_nothing_is_found(place, monkeypatch):
    monkeypatch.chdir(place / "real" / "deep")
    (place / "real" / "deep").rmdir()
    assert find_file("file") is None
    assert text(place / "real" / "file") == "content"
