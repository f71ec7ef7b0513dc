"""Images are removed by their owner, by their whole name, and never from under somebody."""

import os
import time

import pytest

from rhubarbe.errors import ImageError
from rhubarbe.repository import OpenImage
from rhubarbe.repository.removing import expire_partials, plan_removal
from rhubarbe.shared.partial import Partial

DAY = 86400.0
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")


@pytest.fixture
def here(tmp_path, monkeypatch):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def repository(tmp_path):
    place = tmp_path / "repository"
    place.mkdir()
    for name in ("fedora", "ubuntu", "first"):
        (place / f"{name}.ndz").write_bytes(b"image")
    (place / "default.ndz").symlink_to("first.ndz")
    return place


@pytest.fixture
def remove(here, repository):
    def work(*names):
        for step in plan_removal(names, repository, "default.ndz"):
            step.do()

    return work


@pytest.fixture
def refused(remove, repository):
    """Return what is said of what cannot be removed; nothing must have been."""

    def work(*names):
        before = sorted(repository.iterdir())
        with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
            remove(*names)
        assert sorted(repository.iterdir()) == before
        return str(caught.value)

    return work


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_images_go_with_the_links_to_them(remove, repository):
    (repository / "lts.ndz").symlink_to("ubuntu.ndz")
    (repository / "f.ndz").symlink_to("fedora.ndz")
    steps = plan_removal(["ubuntu"], repository, "default.ndz")
    assert [step.words for step in steps] == [
        f"remove {repository}/ubuntu.ndz (5 bytes), and lts.ndz, which lead to it"
    ]
    remove("ubuntu")
    assert names(repository) == ["default.ndz", "f.ndz", "fedora.ndz", "first.ndz"]


def test_a_link_goes_alone(remove, repository):
    (repository / "lts.ndz").symlink_to("ubuntu.ndz")
    (repository / "nowhere.ndz").symlink_to("gone.ndz")
    remove("lts.ndz")
    assert names(repository) == [
        "default.ndz", "fedora.ndz", "first.ndz", "nowhere.ndz", "ubuntu.ndz"
    ]  # fmt: skip


def test_the_one_here_comes_first_as_for_a_load(remove, here, repository):
    (here / "fedora.ndz").touch()
    remove("fedora")
    assert names(here) == []
    assert "fedora.ndz" in names(repository)


def test_a_word_in_a_name_or_a_radical_removes_nothing(refused, repository):
    (repository / "saving__fit01__2026-03-19@10-24__mine.ndz").touch()
    assert "no such image" in refused("fed")
    assert "if you mean saving__fit01__2026-03-19@10-24__mine.ndz, say so" in refused("mine")


@pytest.mark.parametrize("name", ["default", "first", "first.ndz"])
def test_what_is_loaded_by_default_stays(refused, name):
    assert "rhubarbe-share -a default OTHER" in refused("ubuntu", name)


def test_of_several_none_goes_where_one_is_in_use(refused, repository):
    with OpenImage(repository / "fedora.ndz", keeps=True) as image:
        _ = image.descriptor
        assert "fedora.ndz: is in use by " in refused("ubuntu", "fedora")


def test_by_another_name_it_is_in_use_as_well(refused, repository):
    os.link(repository / "fedora.ndz", repository / "same.ndz")
    with (repository / "same.ndz").open("rb"):
        assert "is in use" in refused("fedora")


def test_who_comes_to_use_it_before_it_goes_keeps_it(remove, repository):
    (step,) = plan_removal(["fedora"], repository, "default.ndz")
    with (repository / "fedora.ndz").open("rb"), pytest.raises(ImageError, match="is in use"):
        step.do()
    assert "fedora.ndz" in names(repository)


def test_what_cannot_be_an_image_is_told(refused, repository):
    (repository / "folder.ndz").mkdir()
    os.mkfifo(repository / "pipe.ndz")
    for name in ("folder", "pipe", "gone", str(repository / "gone.ndz"), "gone.ndz.partial"):
        assert "no such" in refused(name)


@as_root
def test_in_a_sticky_directory_everybody_removes_their_own(refused, repository, monkeypatch):
    repository.chmod(0o1777)
    os.chown(repository / "ubuntu.ndz", 4001, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 4002)
    assert "belongs to uid 4001, not to you" in refused("ubuntu")


@as_root
def test_root_may_and_whose_it_is_is_said(repository, here):
    os.chown(repository / "ubuntu.ndz", 4001, -1)
    (step,) = plan_removal(["ubuntu"], repository, "default.ndz")
    assert step.words == f"remove {repository}/ubuntu.ndz (5 bytes, of uid 4001)"


def test_a_partial_image_is_removed_unless_somebody_writes_it(remove, refused, repository):
    partial = repository / "mine.ndz.partial"
    with Partial.open(partial):
        assert "is in use" in refused("mine.ndz.partial")
    remove("mine.ndz.partial")
    assert not partial.exists()


@pytest.fixture
def later(monkeypatch):
    """Ten days later."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10 * DAY)


@pytest.mark.usefixtures("later")
def test_what_is_partial_expires(repository):
    (repository / "cut.ndz.partial").write_bytes(b"123")
    (repository / "notes.partial").touch()
    assert expire_partials(repository, 11) == []
    assert expire_partials(repository, 0) == []
    (told,) = expire_partials(repository, 9, only_tell=True)
    assert told == (
        f"remove {repository}/cut.ndz.partial (3 bytes), cut short, which nobody has worked on"
        " for 9 days"
    )
    assert expire_partials(repository, 9) == [told]
    assert "cut.ndz.partial" not in names(repository)
    assert {"notes.partial", "fedora.ndz", "default.ndz"} <= set(names(repository))


def test_a_copy_that_has_the_time_of_its_original_is_not_old(repository):
    partial = repository / "copy.ndz.partial"
    partial.touch()
    os.utime(partial, (0, 0))
    assert expire_partials(repository, 9) == []
    assert partial.exists()


@pytest.mark.usefixtures("later")
def test_what_somebody_works_on_does_not_expire(repository):
    with Partial.open(repository / "saved.ndz.partial"):
        assert expire_partials(repository, 9) == []
    copying = repository / "copied.ndz.partial"
    with copying.open("wb"):  # rsync takes no lock
        assert expire_partials(repository, 9) == [
            f"remove {repository}/saved.ndz.partial (0 bytes), cut short, which nobody has worked"
            " on for 9 days"
        ]
    assert copying.exists()


@as_root
@pytest.mark.usefixtures("later")
def test_what_is_anothers_or_no_file_does_not_expire(repository):
    (repository / "theirs.ndz.partial").touch()
    os.chown(repository / "theirs.ndz.partial", 4001, -1)
    (repository / "link.ndz.partial").symlink_to("fedora.ndz")
    (repository / "folder.ndz.partial").mkdir()
    os.mkfifo(repository / "pipe.ndz.partial")
    before = names(repository)
    assert expire_partials(repository, 9) == []
    assert names(repository) == before


def test_a_directory_that_is_not_there_has_none(repository):
    assert expire_partials(repository / "gone", 9) == []
