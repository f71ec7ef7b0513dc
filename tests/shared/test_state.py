"""Below `state_dir` each user has a directory, whatever others have laid under its name."""

import os
import subprocess
from pathlib import Path

import pytest

from rhubarbe.shared.state import StateDirectory
from rhubarbe.shared.trust import Distrust

ME, ALICE, BOB = os.getuid(), 4001, 4002
as_root = pytest.mark.skipif(ME != 0, reason="only root can be another user")


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "state"
    place.mkdir()
    place.chmod(0o1777)
    return place


def become(uid, *command):
    """Run a command as a user, in a directory that all may enter."""
    return subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_a_user_has_one_directory(path):
    for _ in range(2):
        with StateDirectory(path).place_of(ME) as place:
            place.replace("file", b"mine", ME)
    assert names(path) == [str(ME)]
    assert [uid for _, uid in StateDirectory(path).places(print)] == [ME]


@as_root
def test_what_root_makes_for_a_user_is_theirs(path):
    with StateDirectory(path).place_of(ALICE) as place:
        place.replace("file", b"hers", ALICE)
    assert (path / "4001").stat().st_uid == (path / "4001" / "file").stat().st_uid == ALICE


@as_root
@pytest.mark.parametrize("kind", ["mkdir", "touch", "mkfifo", "ln -s /etc"])
def test_who_comes_first_keeps_nobody_out(path, kind, tmp_path_factory):
    for above in path.parents[:-2]:  # not what is everybody's: the root, and what is for all files
        above.chmod(0o755)
    assert become(ALICE, *kind.split(), f"{path}/{BOB}").returncode == 0
    for number in range(2):
        with StateDirectory(path).place_of(BOB) as place:
            place.replace(f"file{number}", b"his", BOB)
    (found,) = [Path(place.path) for place, uid in StateDirectory(path).places(print) if uid == BOB]
    assert found.name.startswith("4002.")
    assert names(found) == ["file0", "file1"]
    assert become(ALICE, "rm", "-rf", str(found)).returncode != 0
    (path / str(BOB)).rename(path / "away")
    with StateDirectory(path).place_of(BOB) as place:  # it is still where it was
        assert place.path == str(found)


@as_root
def test_a_thousand_directories_of_one_user_are_one(path):
    for number in range(1000):
        (path / f"{ALICE}.{number:016x}").mkdir()
        os.chown(path / f"{ALICE}.{number:016x}", ALICE, -1)
    with StateDirectory(path).place_of(ME):
        pass
    assert [uid for _, uid in StateDirectory(path).places(print)] == [ME, ALICE]


@as_root
def test_one_that_belongs_to_a_user_is_no_place_for_others(path):
    os.chown(path, ALICE, -1)
    with (
        pytest.raises(Distrust, match=r"belongs to uid 4001.*chown root"),
        StateDirectory(path).open(),
    ):
        pass


def test_none_at_all_has_no_places(tmp_path):
    assert list(StateDirectory(tmp_path / "none").places(print)) == []


@as_root
def test_names_without_number_neither_hide_a_directory_nor_are_passed_over(path, monkeypatch):
    monkeypatch.setattr("rhubarbe.shared.directory.MOST_NAMES", 10)
    with StateDirectory(path).place_of(BOB) as place:
        place.replace("file", b"his", BOB)
    for number in range(11):
        (path / f"{ALICE}.{number:016x}").touch()
    with StateDirectory(path).place_of(BOB) as place:
        assert place.read("file", 10, BOB) == b"his"
    with pytest.raises(Distrust, match="more than 10 names"):
        list(StateDirectory(path).places(print))
