"""What users share, made by one whose umask lets nobody else read what is theirs."""

import os
import stat
from pathlib import Path

import pytest

from rhubarbe.events import NodeResult
from rhubarbe.gateway.state.history import History, Run
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.repository import OpenImage
from rhubarbe.repository.copying import copied
from rhubarbe.shared.directory import READABLE
from rhubarbe.shared.state import StateDirectory


@pytest.fixture(autouse=True, params=[0o077, 0o027])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(directory):
    return {
        str(path.relative_to(directory)): stat.S_IMODE(path.lstat().st_mode)
        for path in directory.rglob("*")
    }


def test_a_shared_directory_is_reached_by_all(tmp_path):
    with StateDirectory(tmp_path / "var" / "lib" / "state").make():
        pass
    last = 0o1777 if os.getuid() == 0 else 0o755
    assert modes(tmp_path) == {"var": 0o755, "var/lib": 0o755, "var/lib/state": last}


def test_one_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "mine").mkdir(0o700)
    with StateDirectory(tmp_path / "mine").make():
        pass
    assert modes(tmp_path) == {"mine": 0o700}


async def test_notes_of_links_are_for_all_to_read(tmp_path):
    state, me = tmp_path / "state", str(os.getuid())
    async with Journal(state, "load", 60.0).recorded("fit01", Path("/boot/01-x"), "ramdisk"):
        assert modes(state) == {me: 0o755, f"{me}/link.fit01": 0o644}


def test_histories_are_read_together(tmp_path):
    node = NodeResult(node="fit01", number=1, ok=True, seconds=1.0)
    run = Run(started=1e9, command="load", exit_code=0, seconds=1.0, nodes=[node])
    History(tmp_path / "state").add(run)
    assert modes(tmp_path)[f"state/{os.getuid()}/history.sqlite"] == 0o644


def test_an_image_in_the_repository_is_everybody_s(tmp_path):
    (tmp_path / "mine.ndz").write_bytes(b"image")
    image, partial = OpenImage(tmp_path / "mine.ndz"), tmp_path / "ours.ndz.partial"
    with copied(image.descriptor, partial) as copy:
        assert modes(tmp_path)["ours.ndz.partial"] == 0o600
        copy.publish("ours.ndz", READABLE)
    image.close()
    assert modes(tmp_path)["mine.ndz"] & stat.S_IROTH == 0
    assert modes(tmp_path)["ours.ndz"] == 0o644
