"""A file in the making: ours, for nobody else to read, and never over what is there."""

import os
import stat
import subprocess
import sys

import pytest

from rhubarbe.shared.partial import Busy, Partial
from rhubarbe.shared.trust import Distrust

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")


def no_links(*_, **__):
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(params=[True, False], ids=["hard links", "no hard links"])
def hard_links(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(os, "link", no_links)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.ndz.partial"


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("hard_links")
def test_it_is_hidden_until_it_has_its_name(path, tmp_path):
    final = tmp_path / "mine.ndz"
    with Partial.open(path) as partial:
        os.write(partial.descriptor, b"new")
        assert mode(path) == 0o600
        partial.publish("mine.ndz")
        assert (final.read_bytes(), mode(final)) == (b"new", 0o644 & ~current_umask())
        assert not path.exists()
        partial.withdraw("mine.ndz")
        assert (path.read_bytes(), mode(path)) == (b"new", 0o600)
        assert not final.exists()
        partial.publish("mine.ndz", 0o640)
    assert (final.read_bytes(), mode(final)) == (b"new", 0o640)


def current_umask():
    before = os.umask(0o022)
    os.umask(before)
    return before


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
def test_who_may_read_it_then_is_what_the_umask_says(path, tmp_path, umask):
    before = os.umask(umask)
    try:
        with Partial.open(path) as partial:
            partial.publish("mine.ndz")
    finally:
        os.umask(before)
    assert mode(tmp_path / "mine.ndz") == 0o644 & ~umask


@pytest.mark.usefixtures("hard_links")
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_it_never_takes_a_name(path, tmp_path, kind):
    final = tmp_path / "mine.ndz"
    final.write_text("old") if kind == "file" else final.symlink_to("nowhere")
    with Partial.open(path) as partial:
        os.write(partial.descriptor, b"new")
        with pytest.raises(FileExistsError):
            partial.publish("mine.ndz")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert final.is_symlink() or final.read_text() == "old"


@pytest.mark.usefixtures("hard_links")
def test_it_replaces_a_name_where_that_is_asked_for(path, tmp_path):
    (tmp_path / "mine.ndz").write_text("old")
    with Partial.open(path) as partial:
        os.write(partial.descriptor, b"new")
        partial.publish("mine.ndz", replaces=True)
    assert (tmp_path / "mine.ndz").read_text() == "new"
    assert names(tmp_path) == ["mine.ndz"]


def test_what_has_its_name_meanwhile_is_not_published(path, tmp_path):
    (tmp_path / "secret").write_text("secret")
    with Partial.open(path) as partial:
        os.write(partial.descriptor, b"new")
        path.rename(tmp_path / "elsewhere")
        path.symlink_to("secret")
        partial.publish("mine.ndz")
    assert (tmp_path / "mine.ndz").read_text() == "new"
    assert path.is_symlink()


def test_what_was_removed_meanwhile_is_an_error(path, tmp_path):
    with Partial.open(path) as partial:
        path.unlink()
        with pytest.raises(FileNotFoundError):
            partial.publish("mine.ndz")
    assert names(tmp_path) == []


def test_two_never_write_it(path):
    with Partial.open(path), pytest.raises(Busy, match="another command"):
        Partial.open(path)
    Partial.open(path).close()


def test_it_is_free_once_its_writer_was_killed(path):
    code = "import sys, time; from rhubarbe.shared.partial import Partial\n"
    code += "kept = Partial.open(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(Busy):
            Partial.open(path)
        writer.kill()
    Partial.open(path).close()


@as_root
def test_one_of_another_s_is_neither_locked_nor_hidden(path):
    path.write_text("theirs")
    path.chmod(0o644)
    os.chown(path, 4001, -1)
    with pytest.raises(Distrust, match="belongs to uid 4001"):
        Partial.open(path)
    assert (path.read_text(), mode(path)) == ("theirs", 0o644)
