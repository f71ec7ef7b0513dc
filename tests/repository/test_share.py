"""What share does, step by step: whole or not at all, and never over what is there."""

import os
import random

import pytest

from rhubarbe.cli.dispatch import main
from rhubarbe.errors import ImageError
from rhubarbe.imaging.imagezip import main as imagezip
from rhubarbe.repository import copying, share, steps
from rhubarbe.repository.copying import partial_file
from rhubarbe.repository.share import ShareRequest, plan, receive, received


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a sealed image of two chunks."""
    disk = tmp_path_factory.mktemp("disk") / "disk.img"
    disk.write_bytes(random.Random(5).randbytes(3 << 19))
    assert imagezip(["-f", str(disk), str(disk.with_suffix(".ndz"))]) == 0
    return disk.with_suffix(".ndz").read_bytes()


@pytest.fixture
def here(tmp_path, monkeypatch, whole):
    place = tmp_path / "here"
    place.mkdir()
    (place / "mine.ndz").write_bytes(whole)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def repository(tmp_path):
    place = tmp_path / "repository"
    place.mkdir()
    return place


def request(repository, image="mine", **more):
    return ShareRequest(image=image, repository=repository, **more)


def do(steps):
    for step in steps:
        step.do()


def refusal(call, *arguments, **more):
    with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
        call(*arguments, **more)
    return str(caught.value)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(params=["rename", "copy"])
def way(request, monkeypatch):
    """Within a filesystem, and across two: there a copy has to do."""
    if request.param == "copy":
        monkeypatch.setattr(share.Move, "_is_ours_here", lambda _: False)


def test_an_image_moves(way, here, repository, whole):
    os.utime(here / "mine.ndz", (1000, 1000))
    (here / "mine.ndz").chmod(0o600)
    steps = plan(request(repository, name="ours", aliases=["default", "new"]))
    assert names(repository) == []
    do(steps)
    assert names(here) == []
    assert names(repository) == ["default.ndz", "new.ndz", "ours.ndz"]
    shared = repository / "ours.ndz"
    assert shared.read_bytes() == whole
    assert shared.stat().st_mtime == 1000
    assert shared.stat().st_mode & 0o777 == 0o644
    assert (repository / "default.ndz").readlink().name == "ours.ndz"


def test_a_file_with_another_name_is_copied(here, repository, whole):
    os.link(here / "mine.ndz", here / "other.ndz")
    do(plan(request(repository)))
    assert names(here) == ["other.ndz"]
    with (here / "other.ndz").open("r+b") as image:
        image.write(b"spoilt")
    assert (repository / "mine.ndz").read_bytes() == whole


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(way, here, repository, whole):
    (repository / "mine.ndz").write_bytes(b"old")
    assert "exists already" in refusal(plan, request(repository))
    do(plan(request(repository, replaces=True)))
    assert (repository / "mine.ndz").read_bytes() == whole
    assert names(here) == []


def test_a_name_taken_in_the_meantime_is_not_overwritten(way, here, repository):
    steps = plan(request(repository))
    (repository / "mine.ndz").write_bytes(b"old")
    assert "exists already" in refusal(do, steps)
    assert (repository / "mine.ndz").read_bytes() == b"old"
    assert (here / "mine.ndz").exists()


def test_a_damaged_image_does_not_move(way, here, repository, whole):
    spoilt = bytearray(whole)
    spoilt[1 << 20] ^= 1
    (here / "mine.ndz").write_bytes(spoilt)
    assert "chunk 1" in refusal(do, plan(request(repository)))
    assert names(repository) == []
    assert names(here) == ["mine.ndz"]


def test_a_copy_that_differs_has_no_name(here, repository, monkeypatch):
    monkeypatch.setattr(share.Move, "_is_ours_here", lambda _: False)

    def spoil(source, target):
        os.write(target, os.pread(source, 1 << 20, 0))

    monkeypatch.setattr(copying, "_copy", spoil)
    assert "chunk 1" in refusal(do, plan(request(repository)))
    assert "mine.ndz" not in names(repository)
    assert names(here) == ["mine.ndz"]


def test_a_full_disk_leaves_nothing(here, repository, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    monkeypatch.setattr(share.Move, "_is_ours_here", lambda _: False)
    assert "No space left" in refusal(do, plan(request(repository)))
    assert names(repository) == []
    assert names(here) == ["mine.ndz"]


def test_what_was_checked_is_what_is_moved(way, here, repository, whole):
    (here / "secret").write_text("secret")
    check, move = plan(request(repository))
    check.do()
    (here / "mine.ndz").unlink()
    (here / "mine.ndz").symlink_to("secret")
    move.do()
    assert (repository / "mine.ndz").read_bytes() == whole
    assert not (repository / "mine.ndz").is_symlink()
    assert (here / "secret").stat().st_mode == (here / "mine.ndz").stat().st_mode
    assert names(here) == ["mine.ndz", "secret"]


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_became_something_else_before_it_was_opened_is_refused(here, repository, kind):
    steps = plan(request(repository))
    (here / "mine.ndz").unlink()
    if kind == "link":
        (here / "mine.ndz").symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(here / "mine.ndz")
    else:
        (here / "mine.ndz").mkdir()
    assert "mine.ndz: " in refusal(do, steps)
    assert names(repository) == []


def test_nobody_reads_a_copy_before_it_was_checked(here, repository, monkeypatch):
    monkeypatch.setattr(share.Move, "_is_ours_here", lambda _: False)
    seen = []

    def look(path, stop=None, file=None):
        seen.extend(entry.stat().st_mode & 0o777 for entry in repository.iterdir())

    monkeypatch.setattr(steps, "check_image", look)
    do(plan(request(repository)))
    assert seen == [0o600]
    assert (repository / "mine.ndz").stat().st_mode & 0o777 == 0o644


def test_a_partial_image_of_another_user_is_not_written_through(here, repository, monkeypatch):
    monkeypatch.setattr(share.Move, "_is_ours_here", lambda _: False)
    partial = repository / "mine.ndz.partial"
    partial.write_bytes(b"theirs")
    os.chown(partial, 4001 if os.getuid() == 0 else -1, -1)
    if os.getuid():
        (repository / "second").hardlink_to(partial)
    assert "mine.ndz.partial" in refusal(do, plan(request(repository)))
    assert partial.read_bytes() == b"theirs"


def test_without_hard_links_a_rename_has_to_do(here, repository, whole, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    do(plan(request(repository)))
    assert names(repository) == ["mine.ndz"]
    assert names(here) == []
    (here / "mine.ndz").write_bytes(whole)
    steps = plan(request(repository, name="other"))
    (repository / "other.ndz").write_bytes(b"old")
    assert "exists already" in refusal(do, steps)
    assert (repository / "other.ndz").read_bytes() == b"old"


def test_who_writes_a_partial_image_is_not_disturbed(here, repository, monkeypatch):
    monkeypatch.setattr(share.Move, "_is_ours_here", lambda _: False)
    with partial_file(repository / "mine.ndz.partial") as partial:
        os.write(partial.descriptor, b"precious")
        assert "another command is writing it" in refusal(do, plan(request(repository)))
        cleaning = plan(request(repository, cleans=True))[2:]
        assert "another command is writing it" in refusal(do, cleaning)
    assert (repository / "mine.ndz.partial").read_bytes() == b"precious"


def test_aliases_of_what_is_shared_already(here, repository, whole):
    (repository / "a.ndz").write_bytes(whole)
    (repository / "b.ndz").write_bytes(whole)
    (repository / "default.ndz").symlink_to("a.ndz")
    steps = plan(request(repository, image="b", aliases=["default"]))
    assert [step.words for step in steps] == [
        f"let {repository}/default.ndz be b.ndz (not a.ndz)",
    ]
    do(steps)
    assert (repository / "default.ndz").readlink().name == "b.ndz"
    assert names(repository) == ["a.ndz", "b.ndz", "default.ndz"]
    taken = request(repository, image="b", aliases=["a"])
    assert "cannot become an alias" in refusal(plan, taken)
    itself = request(repository, image="b", aliases=["b"])
    assert "is the image itself" in refusal(plan, itself)


def test_cleaning_removes_older_saves_of_that_node_and_leftovers(here, repository, whole):
    saves = {day: f"saving__fit04__2026-03-{day}@10-00-00" for day in (17, 18, 19)}
    for save in saves.values():
        (here / f"{save}.ndz").write_bytes(whole)
    kept = ["saving__fit05__2026-03-01@10-00-00.ndz", "saving__fit04__2026-03-01@10-00-00__x.ndz"]
    for name in kept:
        (here / name).write_bytes(whole)
    (here / f"{saves[17]}.ndz.partial").touch()
    (repository / "ours.ndz.partial").touch()
    do(plan(request(repository, image=saves[18], name="ours", cleans=True)))
    assert names(repository) == ["ours.ndz"]
    assert names(here) == sorted(["mine.ndz", f"{saves[19]}.ndz", *kept])


def test_a_save_of_other_versions_is_called_by_the_name_in_it(here, repository, whole):
    (here / "saving__fit04__2026-03-19@10-24__tools.ndz").write_bytes(whole)
    do(plan(request(repository, image="saving__fit04__2026-03-19@10-24__tools")))
    assert names(repository) == ["tools.ndz"]


@pytest.mark.parametrize("name", ["a/b", "a;b", "", " x", "../x"])
def test_names_that_could_surprise_are_refused(here, repository, name):
    if name:
        assert "no name for an image" in refusal(plan, request(repository, name=name))
    assert "no name for an image" in refusal(plan, request(repository, aliases=[name]))


def test_no_repository_is_one_line(here, tmp_path):
    assert "no such directory" in refusal(plan, request(tmp_path / "nowhere"))


def test_what_is_received_is_written_where_only_we_can(repository, whole):
    receive("new", repository)
    partial = repository / "new.ndz.partial"
    assert (partial.read_bytes(), partial.stat().st_mode & 0o777) == (b"", 0o600)
    partial.write_bytes(whole[:1000])
    receive("new", repository)  # to go on with
    assert partial.read_bytes() == whole[:1000]
    os.link(partial, repository / "second")
    assert "also has another name" in refusal(receive, "new", repository)
    repository.chmod(0o777)
    assert "chmod +t" in refusal(receive, "other", repository)
    assert "no name for an image" in refusal(receive, "../x", repository)


def test_what_was_received_gets_its_name_when_it_is_whole(repository, whole):
    assert "has not arrived" in refusal(received, "new", repository)
    partial = repository / "new.ndz.partial"
    partial.write_bytes(whole[: 1 << 20])
    assert "chunk 1: missing" in refusal(do, received("new", repository))
    partial.write_bytes(whole)
    do(received("new", repository))
    assert names(repository) == ["new.ndz"]


def test_a_directory_of_far_too_many_names_is_one_line(here, repository, whole, monkeypatch):
    (repository / "a.ndz").write_bytes(whole)
    for number in range(9):
        (repository / f"{number}").touch()
    monkeypatch.setattr("rhubarbe.shared.directory.MOST_NAMES", 5)
    assert "more than 5 names" in refusal(plan, request(repository, image="a", name="b"))


def test_who_may_not_write_there_is_told_what_would_be_done(
    here, repository, tmp_path, monkeypatch, capsys
):
    conf = tmp_path / "site.conf"
    conf.write_text(f"[frisbee]\nimages_dir = {repository}\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert main(["rhubarbe-share", "mine", "-a", "new"]) == 1
    shown = capsys.readouterr()
    assert [line.split()[:2] for line in shown.out.splitlines()] == [
        ["would", "check"],
        ["would", "make"],
        ["would", "let"],
    ]
    assert "nothing was done: you may not write" in shown.err
    assert names(here) == ["mine.ndz"]
    assert names(repository) == []
