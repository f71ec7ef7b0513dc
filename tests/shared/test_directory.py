"""What others may have laid into a directory is neither obeyed, nor waited for, nor written."""

import os
import socket
import stat

import pytest

from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import open_own
from rhubarbe.shared.trust import Distrust

ME = os.getuid()
as_root = pytest.mark.skipif(ME != 0, reason="only root can give a file away")


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def place(tmp_path):
    with Directory.open(tmp_path) as directory:
        yield directory


def bind(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


KINDS = {
    "link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("nothing")),
    "link to itself": lambda path, _: path.symlink_to(path),
    "link to a device": lambda path, _: path.symlink_to("/dev/zero"),
    "second name": lambda path, victim: path.hardlink_to(victim),
    "pipe": lambda path, _: os.mkfifo(path),
    "directory": lambda path, _: path.mkdir(),
    "socket": lambda path, _: bind(path),
}


@pytest.fixture(params=KINDS)
def laid(request, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    KINDS[request.param](tmp_path / "name", victim)
    yield request.param
    assert victim.read_text() == "precious"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert not (tmp_path / "nothing").exists()


def test_what_is_no_file_is_not_read(place, laid):
    with pytest.raises(OSError, match=r"."):
        place.read("name", 100, ME)


def test_it_is_not_opened_as_ours(tmp_path, laid):
    with pytest.raises(OSError, match=r"."):
        open_own(tmp_path / "name", os.O_WRONLY, 0o644)


def test_a_fresh_file_takes_its_place(place, tmp_path, laid):
    if laid == "directory":
        with pytest.raises(IsADirectoryError):
            place.replace("name", b"new", ME)
    else:
        place.replace("name", b"new", ME)
        assert (tmp_path / "name").read_bytes() == b"new"
        assert not (tmp_path / "name").is_symlink()
    assert names(tmp_path) == ["name", "victim"]


@as_root
def test_another_s_file_is_neither_read_nor_written(place, tmp_path):
    (tmp_path / "name").write_text("theirs")
    os.chown(tmp_path / "name", 4001, -1)
    with pytest.raises(Distrust, match="belongs to uid 4001, and not to root"):
        place.read("name", 100, ME)
    with pytest.raises(Distrust, match="belongs to uid 4001"):
        open_own(tmp_path / "name", os.O_WRONLY | os.O_TRUNC, 0o644)


def test_no_more_is_read_than_may_be(place, tmp_path):
    with (tmp_path / "name").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(Distrust, match="larger than 100 bytes"):
        place.read("name", 100, ME)
    (tmp_path / "name").write_bytes(b"x" * 100)
    assert place.read("name", 100, ME) == b"x" * 100


def test_what_cannot_be_written_whole_leaves_nothing(place, tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    place.replace("name", b"old", ME)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        place.replace("name", b"new", ME)
    assert names(tmp_path) == ["name"]
    assert (tmp_path / "name").read_bytes() == b"old"


def test_a_directory_is_never_reached_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError, match=r"."):
        Directory.open(tmp_path / "link")


@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o700, 0o1775])
def test_a_directory_where_nobody_can_remove_another_s_is_trusted(tmp_path, mode):
    tmp_path.chmod(mode)
    with Directory.open(tmp_path) as directory:
        directory.require_trust()


@pytest.mark.usefixtures("in_a_group_of_many")
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o2777])
def test_one_where_somebody_could_is_not(tmp_path, mode):
    tmp_path.chmod(mode)
    with Directory.open(tmp_path) as directory, pytest.raises(Distrust, match=r"chmod \+t"):
        directory.require_trust()


def test_a_file_that_comes_and_goes_is_not_pursued_for_ever(tmp_path, monkeypatch):
    real = os.open

    def race(path, flags, *mode, **more):
        if path != "name":
            return real(path, flags, *mode, **more)
        raise FileExistsError if flags & os.O_CREAT else FileNotFoundError

    monkeypatch.setattr(os, "open", race)
    with pytest.raises(Distrust, match="makes and removes it"):
        open_own(tmp_path / "name", os.O_WRONLY, 0o644)
