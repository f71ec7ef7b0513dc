"""Images: found in order, never partial, never overwritten."""

import os
from datetime import UTC, datetime

import pytest

from rhubarbe.errors import ImageError
from rhubarbe.repository import (
    check_image,
    find_image,
    list_images,
    new_image_path,
    stranger_of,
)
from rhubarbe.shared.directory import Directory

NOW = datetime(2026, 3, 19, 10, 24, 5, tzinfo=UTC)


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
    return place


def refusal(call, *arguments):
    with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
        call(*arguments)
    return str(caught.value)


def test_here_comes_before_the_repository(here, repository):
    for place in (here, repository):
        (place / "fedora.ndz").touch()
    assert find_image("fedora", repository) == here / "fedora.ndz"
    assert find_image("fedora.ndz", repository) == here / "fedora.ndz"
    (here / "fedora.ndz").unlink()
    assert find_image("fedora", repository) == repository / "fedora.ndz"


def test_the_name_as_given_comes_before_the_name_with_a_suffix(here, repository):
    (here / "fedora").touch()
    (here / "fedora.ndz").touch()
    assert find_image("fedora", repository) == here / "fedora"


def test_a_path_is_looked_for_nowhere_else(here, repository):
    (repository / "sub").mkdir()
    (repository / "sub" / "fedora.ndz").touch()
    path = str(repository / "sub" / "fedora")
    assert find_image(path, here) == repository / "sub" / "fedora.ndz"
    assert "no such image" in refusal(find_image, "sub/fedora", repository)
    (here / "mine.ndz").touch()
    assert find_image("./mine", repository) == here / "mine.ndz"


def test_a_link_is_an_image(here, repository):
    (repository / "fedora-41.ndz").touch()
    (repository / "default.ndz").symlink_to("fedora-41.ndz")
    assert find_image("default", repository) == repository / "default.ndz"


def test_a_partial_image_is_refused_by_name(here, repository):
    (here / "mine.ndz.partial").touch()
    for wanted in ("mine.ndz.partial", str(here / "mine.ndz.partial")):
        assert "a partial image" in refusal(find_image, wanted, repository)


@pytest.mark.parametrize("wanted", ["mine", "mine.ndz"])
def test_where_there_is_only_a_partial_image_it_is_named(here, repository, wanted):
    (repository / "mine.ndz.partial").touch()
    assert "there is only" in refusal(find_image, wanted, repository)


def save_of(place, date, radical, node="fit04"):
    image = place / f"saving__{node}__{date}__{radical}.ndz"
    image.touch()
    return image


def test_a_radical_is_that_of_the_newest_save_here_or_in_the_repository(here, repository):
    old = save_of(here, "2026-03-19@10-24", "mine")
    newest = save_of(repository, "2026-03-20@09-00-01", "mine", node="fit_5")
    save_of(here, "2026-03-20@09-00", "mine")
    save_of(here, "2026-03-21@09-00", "mine__too")
    save_of(here, "2027-99-99", "mine")  # no save's: it has no time
    (repository / "saving__fit04__2026-03-22@10-24-00.ndz").touch()
    (here / "saving__fit04__2026-03-23@10-24-00__mine.ndz.partial").touch()
    for wanted in ("mine", "mine.ndz"):
        assert find_image(wanted, repository) == newest
    assert find_image("./mine", repository) == here / "saving__fit04__2026-03-20@09-00__mine.ndz"
    assert find_image("mine__too", repository).name.startswith("saving__fit04__2026-03-21")
    newest.unlink()
    (here / "saving__fit04__2026-03-20@09-00__mine.ndz").unlink()
    assert find_image("mine", repository) == old


def test_a_save_that_was_copied_back_is_as_old_as_its_name_says(here, repository):
    old = save_of(repository, "2026-03-19@10-24", "mine")
    new = save_of(here, "2026-03-20@10-24", "mine")
    os.utime(new, (0, 0))
    assert old.stat().st_mtime > new.stat().st_mtime
    assert find_image("mine", repository) == new


def test_of_two_saves_of_one_minute_the_one_written_last_is_meant(here, repository):
    late = save_of(here, "2026-03-19@10-24", "mine", node="fit01")
    early = save_of(here, "2026-03-19@10-24", "mine", node="fit02")
    os.utime(early, (0, 0))
    assert find_image("mine", repository) == late


def test_an_image_of_the_name_itself_comes_before_saves_with_the_radical(here, repository):
    save_of(here, "2026-03-19@10-24", "mine")
    (repository / "mine.ndz").touch()
    assert find_image("mine", repository) == repository / "mine.ndz"


@pytest.mark.parametrize("wanted", ["", "saving", "fit04", "2026-03-19@10-24", "ine", "__mine"])
def test_only_a_whole_radical_finds_a_save(here, repository, wanted):
    save_of(here, "2026-03-19@10-24", "mine")
    assert "no such image" in refusal(find_image, wanted, repository)


def test_a_default_image_is_no_radical(here, repository):
    save_of(repository, "2026-03-19@10-24", "default")
    assert "no such image" in refusal(lambda: find_image("default", repository, here=False))


def test_near_names_are_listed(here, repository):
    for name in ("ubuntu-24.04", "ubuntu-22.04", "fedora-41"):
        (repository / f"{name}.ndz").touch()
    (here / "ubuntu-mine.ndz").touch()
    says = refusal(find_image, "ubunto-24.04", repository)
    assert "near names: ubuntu-24.04" in says
    assert "ubuntu-22.04" in says
    assert "fedora" not in says


def test_where_no_name_is_near_some_are_listed(here, repository):
    for number in range(13):
        (repository / f"image{number:02}.ndz").touch()
    says = refusal(find_image, "xyz", repository)
    assert "known: image00, image01" in says
    assert "and 3 more" in says
    assert "known: none" in refusal(find_image, "xyz", here)


@pytest.mark.parametrize("wanted", [".", "/", "..", "x" * 300])
def test_what_can_be_no_image_is_refused_in_one_line(here, repository, wanted):
    assert "no such image" in refusal(find_image, wanted, repository)


def test_a_directory_or_a_dangling_link_is_no_image(here, repository):
    (repository / "folder.ndz").mkdir()
    (repository / "gone.ndz").symlink_to("nowhere.ndz")
    for wanted in ("folder", "gone"):
        assert "no such image" in refusal(find_image, wanted, repository)


def test_the_list_has_files_with_their_aliases(repository):
    (repository / "fedora.ndz").write_bytes(b"12345")
    (repository / "default.ndz").symlink_to("fedora.ndz")
    (repository / "gone.ndz").symlink_to("nowhere.ndz")
    (repository / "loop.ndz").symlink_to("loop.ndz")
    (repository / "mine.ndz.partial").touch()
    (repository / "notes.txt").touch()
    os.utime(repository / "fedora.ndz", (NOW.timestamp(), NOW.timestamp()))
    (image,) = list_images(repository)
    assert (image.name, image.size, image.aliases) == ("fedora", 5, ("default",))
    assert image.modified == NOW.timestamp()


def test_a_directory_that_is_missing_or_unreadable_has_none(repository, monkeypatch):
    assert list_images(repository / "nowhere") == []

    def denied(_):
        raise PermissionError(13, "Permission denied", str(repository))

    monkeypatch.setattr(os, "scandir", denied)
    assert list_images(repository) == []


def test_an_image_that_cannot_be_looked_at_is_skipped(repository, monkeypatch):
    (repository / "good.ndz").touch()
    (repository / "bad.ndz").touch()
    stat = os.stat

    def picky(path, **options):
        if str(path).endswith("bad.ndz"):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", picky)
    assert [image.name for image in list_images(repository)] == ["good"]


def test_looking_where_we_may_not_finds_nothing(here, repository, monkeypatch):
    (repository / "fedora.ndz").touch()

    def denied(path, **options):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", denied)
    assert "no such image" in refusal(find_image, "fedora", repository)


def test_an_empty_or_foreign_file_is_damaged(here):
    (here / "empty.ndz").touch()
    (here / "text.ndz").write_bytes(b"not an image\n" * 100)
    for name in ("empty.ndz", "text.ndz", "missing.ndz"):
        assert name in refusal(check_image, here / name)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mine", "mine.ndz"),
        ("mine.ndz", "mine.ndz"),
        ("mine.v2", "mine.v2.ndz"),
        ("été+@%", "été+@%.ndz"),
        ("my work", "my work.ndz"),
        (None, "saving__fit04__2026-03-19@10-24-05.ndz"),
    ],
)
def test_a_new_image_is_named(here, name, file):
    assert new_image_path(name, "fit04", NOW) == here / file


def test_a_new_image_may_go_into_another_directory(here, repository):
    assert new_image_path(f"{repository}/mine", "fit04", NOW) == repository / "mine.ndz"
    assert "no such directory" in refusal(new_image_path, "sub/mine", "fit04", NOW)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ". .",
        ".ndz",
        "a'b",
        'a"b',
        "a`b",
        "a$b",
        "a;b",
        "a\nb",
        "a\x1bb",
        " a",
        "a|b",
        "a>b",
        "a\\b",
    ],
)
def test_a_name_that_could_surprise_is_refused(here, name):
    assert "no name for an image" in refusal(new_image_path, name, "fit04", NOW)


def test_a_taken_name_is_refused(here):
    (here / "mine.ndz").touch()
    (here / "gone.ndz").symlink_to("nowhere")
    for name in ("mine", "mine.ndz", "gone"):
        assert "never overwritten" in refusal(new_image_path, name, "fit04", NOW)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("kind", ["file", "link"])
def test_whose_an_image_in_this_directory_is(here, repository, kind):
    mine = here / "mine.ndz"
    (repository / "mine.ndz").touch()
    (here / "other.ndz").touch()
    mine.touch() if kind == "file" else mine.symlink_to("other.ndz")
    assert stranger_of("mine", find_image("mine", repository)) is None
    os.chown(mine, 4001, -1, follow_symlinks=False)
    assert stranger_of("mine", find_image("mine", repository)) == "uid 4001"
    assert stranger_of(str(mine), find_image(str(mine), repository)) is None
    mine.unlink()
    os.chown(repository / "mine.ndz", 4001, -1)
    assert stranger_of("mine", find_image("mine", repository)) is None


def test_a_default_image_is_not_looked_for_here(here, repository):
    (here / "default.ndz").touch()
    (repository / "default.ndz").touch()
    assert find_image("default", repository, here=False) == repository / "default.ndz"
    (repository / "default.ndz").unlink()
    words = refusal(lambda: find_image("default", repository, here=False))
    assert words.startswith(f"default: no such image in {repository}; known: ")
    assert words.endswith("; -i ./default.ndz is the one in this directory")
    assert "neither here" not in words


def test_the_path_of_a_default_image_is_one_in_the_repository(here, repository):
    for place in (here, repository):
        (place / "sub").mkdir()
    (here / "sub" / "default.ndz").touch()
    assert "no such image" in refusal(lambda: find_image("sub/default", repository, here=False))
    (repository / "sub" / "default.ndz").touch()
    found = find_image("./sub/default", repository, here=False)
    assert found.samefile(repository / "sub" / "default.ndz")


@pytest.mark.parametrize("time", [2**33 - 1, -1, -(2**31)])
def test_a_file_of_any_time_has_a_date(repository, time):
    (repository / "a.ndz").touch()
    os.utime(repository / "a.ndz", (time, time))
    (image,) = list_images(repository)
    assert datetime.fromtimestamp(image.modified, UTC).year in {1970, 2242}


def test_a_time_beyond_all_dates_is_the_last(repository, monkeypatch):
    (repository / "a.ndz").touch()
    status = (repository / "a.ndz").stat()
    beyond = os.stat_result([*status[:8], 2**55, *status[9:10]])
    monkeypatch.setattr(Directory, "status_of", lambda *_: beyond)
    (image,) = list_images(repository)
    assert datetime.fromtimestamp(image.modified, UTC).year == 2242
