"""Links of dead commands go, whatever killed them; links in use or of others stay."""

import asyncio
import contextlib
import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rhubarbe.errors import CardError, GatewayError
from rhubarbe.gateway.state import journal as journal_module
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.gateway.state.locks import Locks
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.state import StateDirectory
from rhubarbe.shared.trust import user_name

NAMES = re.compile(r"01(-[0-9a-f]{2}){6}")
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
STATUS = Path("/proc/self/stat").read_text()
NAME = "01-02-00-00-00-00-01"
HOLDER = """
import asyncio, sys
from pathlib import Path
from rhubarbe.gateway.state.journal import Journal

async def main():
    link = Path(sys.argv[2])
    async with Journal(Path(sys.argv[1]), "load", 60).recorded("fit01", link, "pxefrisbee"):
        link.symlink_to("pxefrisbee")
        print("linked", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def link(tmp_path):
    (tmp_path / "pxelinux.cfg").mkdir()
    return tmp_path / "pxelinux.cfg" / NAME


@pytest.fixture
def holder(tmp_path, link):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, link], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "linked\n"
        yield process
        process.kill()


@pytest.fixture
def left_behind(tmp_path, link):
    """A link with its record, as they are when this machine has booted after a crash."""

    async def crash():
        async with Journal(tmp_path, "load", 60).recorded("fit01", link, "pxefrisbee"):
            link.symlink_to("pxefrisbee")
            raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        asyncio.run(crash())
    alter(tmp_path, boot="another")


def record_file(state):
    return state / str(os.getuid()) / "link.fit01"


def alter(state, **values):
    file = record_file(state)
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def sweep(state):
    return Journal(state, "wait", 60).sweep(state / "pxelinux.cfg", NAMES)


async def test_the_record_is_there_as_long_as_the_link(tmp_path, link):
    journal = Journal(tmp_path, "load", 60)
    async with journal.recorded("fit01", link, "pxefrisbee"):
        told = json.loads(record_file(tmp_path).read_text())
        assert told.pop("expires") - told["since"] == 60
        assert 0 <= time.time() - told.pop("since") < 60
        assert told == {
            "node": "fit01",
            "path": str(link),
            "target": "pxefrisbee",
            "user": user_name(),
            "command": "load",
            "pid": os.getpid(),
            "start": STATUS.rpartition(")")[2].split()[19],
            "boot": BOOT,
        }
    assert list((tmp_path / str(os.getuid())).iterdir()) == []


def test_a_killed_commands_link_is_swept_and_named(tmp_path, link, holder):
    holder.kill()
    holder.wait()
    said = sweep(tmp_path)
    assert len(said) == 1
    words = f"removed the nextboot link of fit01, left behind by {user_name()}'s load (pid "
    assert said[0].startswith(words)
    assert f"load (pid {holder.pid}, since" in said[0]
    assert not link.is_symlink()
    assert list((tmp_path / str(os.getuid())).iterdir()) == []
    assert sweep(tmp_path) == []


def test_a_link_in_use_stays(tmp_path, link, holder):
    assert sweep(tmp_path) == []
    assert link.is_symlink()
    assert record_file(tmp_path).exists()


def test_a_link_of_before_the_last_boot_goes_although_its_pid_lives_again(tmp_path, link, holder):
    alter(tmp_path, boot="another")
    assert len(sweep(tmp_path)) == 1
    assert not link.is_symlink()


def test_a_later_process_of_the_same_number_does_not_keep_a_link(tmp_path, link, holder):
    alter(tmp_path, start="1")
    assert len(sweep(tmp_path)) == 1


def test_a_process_that_is_dead_but_not_yet_waited_for_keeps_no_link(tmp_path, link, holder):
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    os.kill(holder.pid, 0)  # its number is still taken
    assert len(sweep(tmp_path)) == 1
    assert not link.is_symlink()


def test_an_invisible_process_is_believed_until_it_is_overdue(tmp_path, link, holder, monkeypatch):
    def not_yours(pid, number):
        assert (pid, number) == (holder.pid, 0), "it is asked for, and told nothing"
        raise PermissionError

    monkeypatch.setattr("rhubarbe.gateway.state.journal.start_of", lambda _: "")
    monkeypatch.setattr(os, "kill", not_yours)
    assert sweep(tmp_path) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    alter(tmp_path, expires=now)
    assert len(sweep(tmp_path)) == 1


def test_a_dangling_link_is_a_link(tmp_path, link, left_behind):
    assert link.is_symlink()
    assert not link.exists()
    assert len(sweep(tmp_path)) == 1


def test_a_node_that_somebody_works_on_is_left_to_them(tmp_path, link, left_behind):
    locks = Locks(tmp_path, "load")
    locks.prepare()
    assert locks.take(["fit01"]) is None
    assert sweep(tmp_path) == []
    assert link.is_symlink()
    locks.release()
    assert len(sweep(tmp_path)) == 1


def test_another_link_in_its_place_stays(tmp_path, link, left_behind):
    link.unlink()
    link.symlink_to("memtest")
    assert sweep(tmp_path) == []
    assert link.readlink() == Path("memtest")
    assert not record_file(tmp_path).exists()


def test_a_link_of_another_user_stays(tmp_path, link, left_behind, monkeypatch):
    strange = link.lstat()
    other = os.stat_result([*strange[:4], 54321, *strange[5:10]])
    monkeypatch.setattr(Directory, "status_of", lambda *_: other)
    sweep(tmp_path)
    monkeypatch.undo()
    assert link.is_symlink()


@pytest.mark.parametrize(
    "values",
    [
        {"path": "/etc/passwd"},
        {"path": "../pxelinux.cfg/" + NAME},
        {"node": "../fit01"},
        {"pid": -1},
        {"pid": "1"},
        {"since": "then"},
        {"boot": None},
        {"pid": 0},
        {"pid": 1 << 23},
        {"since": -1},
        {"since": 2.0**33},
        {"expires": "never"},
        {"node": ".fit01"},
        {"node": ""},
    ],
)
def test_a_record_that_makes_no_sense_removes_nothing(tmp_path, link, left_behind, values):
    alter(tmp_path, **values)
    assert not any("removed" in words for words in sweep(tmp_path))
    assert link.is_symlink()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"node": "fit01"}', b"[" * 60_000, b'{"a":' * 900, b" " * 70_000],
)
def test_a_file_that_is_no_record_is_told_with_its_owner(tmp_path, link, content):
    record_file(tmp_path).parent.mkdir()
    record_file(tmp_path).write_bytes(content)
    (said,) = sweep(tmp_path)
    assert f"a note of {user_name()}'s that makes no sense" in said


@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "second name", "no rights"])
def test_what_is_no_file_of_the_user_holds_nobody_up(tmp_path, link, kind):
    file = record_file(tmp_path)
    file.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif kind == "link":
        file.symlink_to("/dev/zero")
    else:
        file.write_text("{}")
        if kind == "second name":
            file.with_name("other").hardlink_to(file)
        else:
            file.chmod(0)
    assert len(sweep(tmp_path)) == 1


def test_words_of_other_users_cannot_garble_the_terminal(tmp_path, link, left_behind):
    alter(tmp_path, user="\x1b[2Jroot\n")
    assert sweep(tmp_path)[0].isprintable()


async def test_a_journal_that_cannot_be_written_is_one_line(tmp_path, link):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        GatewayError, match="file: the link of fit01 cannot be noted there: Not a dir"
    ):
        async with Journal(tmp_path / "file", "load", 60).recorded("fit01", link, "pxefrisbee"):
            pytest.fail("noted nowhere")


async def test_a_link_that_could_not_be_removed_keeps_its_record(tmp_path, link):
    journal = Journal(tmp_path, "load", 60)
    with pytest.raises(GatewayError, match="by hand"):
        async with journal.recorded("fit01", link, "pxefrisbee"):
            link.symlink_to("pxefrisbee")
            raise GatewayError("remove it by hand")
    assert record_file(tmp_path).exists()
    link.unlink()
    with pytest.raises(GatewayError, match="removed"):
        async with journal.recorded("fit01", link, "pxefrisbee"):
            raise GatewayError("the link was removed")
    assert not record_file(tmp_path).exists()


def test_notes_without_number_are_told_and_keep_nobody_s_from_being_swept(
    tmp_path, link, left_behind, monkeypatch
):
    if os.getuid():
        pytest.skip("only root can be two users")
    hers = tmp_path / "4001"
    hers.mkdir()
    for number in range(30):
        (hers / f"link.fit{number}").write_text("")
    os.chown(hers, 4001, -1)
    monkeypatch.setattr("rhubarbe.shared.directory.MOST_NAMES", 20)
    said = sweep(tmp_path)
    assert any("more than 20 names" in words for words in said)
    assert any("removed the nextboot link of fit01" in words for words in said)


def test_a_link_that_cannot_be_swept_is_told_with_the_reason_and_noted_still(
    tmp_path, link, left_behind, monkeypatch
):

    def unlink(directory, name):
        raise OSError(errno.EROFS, "Read-only file system", name)

    monkeypatch.setattr(Directory, "unlink", unlink)
    (said,) = sweep(tmp_path)
    assert said.startswith("the nextboot link of fit01, left behind by ")
    assert said.endswith(") cannot be removed: Read-only file system")
    assert record_file(tmp_path).exists()
    monkeypatch.undo()
    assert len(sweep(tmp_path)) == 1, "the node is not locked any more"


@pytest.mark.parametrize(
    ("number", "stays"),
    [(errno.EIO, True), (errno.ESTALE, True), (errno.EACCES, False), (errno.ENOENT, False)],
)
async def test_a_link_on_a_disk_that_gives_errors_may_be_there_and_keeps_its_record(
    tmp_path, link, monkeypatch, number, stays
):
    def link_at(directory, name):
        raise OSError(number, os.strerror(number), name)

    monkeypatch.setattr(Directory, "link_at", link_at)
    with pytest.raises(GatewayError, match="by hand"):
        async with Journal(tmp_path, "load", 60).recorded("fit01", link, "pxefrisbee"):
            raise GatewayError("remove it by hand")
    assert record_file(tmp_path).exists() == stays


async def test_a_link_on_a_disk_that_does_not_answer_keeps_its_record(tmp_path, link, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(journal_module, "READ_WITHIN_S", 0.1)
    monkeypatch.setattr(Directory, "link_at", lambda *_: answers.wait(30))
    with pytest.raises(GatewayError, match="by hand"):
        async with Journal(tmp_path, "load", 60).recorded("fit01", link, "pxefrisbee"):
            raise GatewayError("remove it by hand")
    answers.set()
    assert record_file(tmp_path).exists()


async def test_links_may_be_in_a_directory_that_a_link_leads_to(tmp_path, link):
    """As /tftpboot often is one to /srv/tftp."""
    (tmp_path / "tftpboot").symlink_to(link.parent)
    seen = tmp_path / "tftpboot" / NAME
    with pytest.raises(GatewayError, match="by hand"):
        async with Journal(tmp_path, "load", 60).recorded("fit01", seen, "pxefrisbee"):
            link.symlink_to("pxefrisbee")
            raise GatewayError("remove it by hand")
    assert record_file(tmp_path).exists()
    alter(tmp_path, boot="another")
    assert len(Journal(tmp_path, "wait", 60).sweep(tmp_path / "tftpboot", NAMES)) == 1
    assert not link.is_symlink()


def test_a_process_of_ours_that_is_dead_keeps_no_link(tmp_path, link, holder, monkeypatch):
    monkeypatch.setattr(journal_module, "start_of", lambda _: "")
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert len(sweep(tmp_path)) == 1


@pytest.mark.parametrize(
    "values",
    [{"since": 0}, {"since": 0.5}, {"pid": (1 << 23) - 1}, {"pid": 1}, {"node": "PC-3.a_b"}],
)
def test_a_record_that_makes_sense_has_its_link_removed(tmp_path, link, left_behind, values):
    alter(tmp_path, **values)
    assert len(sweep(tmp_path)) == 1
    assert not link.is_symlink()


async def test_links_in_use_keep_none_from_being_swept(tmp_path, link, left_behind):
    async with contextlib.AsyncExitStack() as stack:
        for number in (0, 2, 3, 4, 5):
            other = link.with_name(f"01-02-00-00-00-01-0{number}")
            recorded = Journal(tmp_path, "load", 60).recorded(f"fit0{number}", other, "pxefrisbee")
            await stack.enter_async_context(recorded)
        assert len(sweep(tmp_path)) == 1
    assert not link.is_symlink()


def test_a_link_elsewhere_or_of_another_kind_of_name_stays(tmp_path, link, left_behind):
    (tmp_path / "elsewhere").mkdir()
    for other in (tmp_path / "elsewhere" / NAME, link.with_name("default")):
        other.symlink_to("pxefrisbee")
        alter(tmp_path, path=str(other))
        assert sweep(tmp_path) == []
        assert other.is_symlink()


def test_where_links_are_not_looked_for_is_told_with_the_reason(tmp_path, link, left_behind):
    tmp_path.chmod(0o777)
    (said,) = sweep(tmp_path)
    assert said.startswith(f"{tmp_path}: links left behind are not looked for: {tmp_path}: ")
    assert "anybody" in said


def test_a_directory_of_notes_that_cannot_be_read_is_told_and_holds_none_up(
    tmp_path, link, left_behind, monkeypatch
):
    class Broken:
        def names(self):
            raise OSError(errno.EIO, "Input/output error")

    places = StateDirectory.places

    def with_a_broken_one(state, tell):
        tell("state/4002: cannot be looked into")
        yield Broken(), 4001
        yield from places(state, tell)

    monkeypatch.setattr(StateDirectory, "places", with_a_broken_one)
    first, second, removed = sweep(tmp_path)
    assert (first, second) == ("state/4002: cannot be looked into", "Input/output error")
    assert removed.startswith("removed")


def test_a_note_that_is_forgotten_meanwhile_holds_none_up(tmp_path, link, left_behind, monkeypatch):
    names = Directory.names
    monkeypatch.setattr(Directory, "names", lambda place: ["link.fit00", *names(place)])
    (said,) = sweep(tmp_path)
    assert said.startswith("removed")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_notes_that_make_no_sense_are_told_once_a_user(tmp_path, link, count):
    place = record_file(tmp_path).parent
    place.mkdir()
    files = [place / f"link.fit0{number}" for number in range(count)]
    for file in files:
        file.write_text("{}")
    (said,) = sweep(tmp_path)
    more = f", and {count - 1} more" if count > 1 else ""
    words = f": a note of {user_name()}'s that makes no sense{more}"
    assert said == f"{files[0]}{words}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_note_of_another_in_our_place_makes_no_sense(tmp_path, link, left_behind):
    os.chown(record_file(tmp_path), 4001, -1)
    (said,) = sweep(tmp_path)
    assert "makes no sense" in said
    assert link.is_symlink()


class Controller:
    """What a node's controller was asked for, and what ends that."""

    def __init__(self):
        self.ends = 0
        self.fault = None

    async def end(self):
        self.ends += 1
        if self.fault:
            raise self.fault


@pytest.fixture
def controller():
    return Controller()


def asked_file(state):
    return state / str(os.getuid()) / "link.fit01+asked"


async def ask_and_fail(state, *, is_over):
    with contextlib.suppress(ZeroDivisionError):
        async with Journal(state, "load", 60).recorded_request("fit01", lambda: is_over):
            raise ZeroDivisionError


def dead(state):
    """Have the record be of before the last boot."""
    file = asked_file(state)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"boot": "another"}))


async def test_a_request_is_noted_until_it_is_over(tmp_path):
    async with Journal(tmp_path, "load", 60).recorded_request("fit01", lambda: False):
        told = json.loads(asked_file(tmp_path).read_text())
        assert (told["node"], told["path"]) == ("fit01", "")
    assert not asked_file(tmp_path).exists()
    await ask_and_fail(tmp_path, is_over=True)
    assert not asked_file(tmp_path).exists()
    await ask_and_fail(tmp_path, is_over=False)
    assert asked_file(tmp_path).exists()


async def test_what_a_dead_command_has_asked_for_is_ended_once(tmp_path, controller):
    await ask_and_fail(tmp_path, is_over=False)
    journal = Journal(tmp_path, "wait", 60)
    assert await journal.end_requests({"fit01": controller.end}) == []  # we live
    dead(tmp_path)
    assert await journal.end_requests({"fit02": controller.end}) == []
    assert controller.ends == 0
    (said,) = await journal.end_requests({"fit01": controller.end})
    assert said.startswith(f"ended the boot override of fit01, left behind by {user_name()}'s load")
    assert controller.ends == 1
    assert await journal.end_requests({"fit01": controller.end}) == []
    assert controller.ends == 1
    assert sweep(tmp_path) == []


async def test_a_request_that_cannot_be_ended_stays_noted(tmp_path, controller):
    await ask_and_fail(tmp_path, is_over=False)
    dead(tmp_path)
    controller.fault = CardError("no answer in 3 s to boot override")
    (said,) = await Journal(tmp_path, "wait", 60).end_requests({"fit01": controller.end})
    assert said.startswith("the boot override of fit01, left behind by")
    assert said.endswith("cannot be ended: no answer in 3 s to boot override")
    assert asked_file(tmp_path).exists()


async def test_a_request_for_a_node_that_somebody_works_on_is_left_alone(tmp_path, controller):
    await ask_and_fail(tmp_path, is_over=False)
    dead(tmp_path)
    locks = Locks(tmp_path, "load")
    locks.prepare()
    assert locks.take(["fit01"]) is None
    try:
        ends = {"fit01": controller.end}
        assert await Journal(tmp_path, "wait", 60).end_requests(ends) == []
    finally:
        locks.release()
    assert controller.ends == 0
    assert asked_file(tmp_path).exists()


def test_the_sweep_of_links_leaves_requests_alone(tmp_path):
    (tmp_path / "pxelinux.cfg").mkdir()
    asyncio.run(ask_and_fail(tmp_path, is_over=False))
    dead(tmp_path)
    assert sweep(tmp_path) == []
    assert asked_file(tmp_path).exists()
