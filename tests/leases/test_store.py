"""The leases on disk: whose they are is who owns the file; what is wrong with it is its own."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest

from rhubarbe.errors import LeaseError
from rhubarbe.leases import store as stored
from rhubarbe.leases.lease import LATEST, Lease
from rhubarbe.leases.store import Store
from rhubarbe.leases.user import User, user_of
from rhubarbe.shared.claims import make_claim
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.state import StateDirectory

ME = user_of(os.getuid())
STRANGER = User(12345, "uid 12345")
ADDER = """
import sys
from pathlib import Path
from rhubarbe.leases.store import Store
from rhubarbe.leases.user import current_user

store = Store(Path(sys.argv[1]))
for number in range(20):
    with store.locked():
        first = len(store.read()) * 10.0
        store.add(first, first + 10, current_user())
"""


def database(path, script):
    with sqlite3.connect(path) as opened:
        opened.executescript(script)
    opened.close()
    path.chmod(0o644)


def test_what_is_noted_is_read(store):
    assert store.read() == []
    with store.locked():
        lease = store.add(10, 20, ME)
        store.add(30, 40, ME)
    assert lease == Lease(10, 20, ME.name, f"{ME.uid}.1")
    assert store.read() == [lease, Lease(30, 40, ME.name, f"{ME.uid}.2")]


def test_shortened_and_removed(store):
    with store.locked():
        first, second = store.add(10, 20, ME), store.add(30, 40, ME)
        store.shorten(first, 15)
        store.remove(second)
        third = store.add(50, 60, ME)
    assert store.read() == [Lease(10, 15, ME.name, first.name), third]
    assert third.name not in (first.name, second.name)  # no name is ever another lease's


def test_anybody_may_read_and_only_the_owner_write_whatever_the_umask(store, tmp_path):
    before = os.umask(0o077)
    try:
        with store.locked():
            store.add(10, 20, ME)
    finally:
        os.umask(before)
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o644
    assert kept(tmp_path).parent.stat().st_mode & 0o7777 == 0o755
    shared = 0o1777 if os.getuid() == 0 else 0o755
    assert (tmp_path / "state").stat().st_mode & 0o7777 == shared


def test_processes_that_add_at_once_take_turns(store, tmp_path):
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, tmp_path / "state"]) for _ in range(3)]
    assert [adder.wait(30) for adder in adders] == [0, 0, 0]
    assert sorted(lease.begins for lease in store.read()) == [10.0 * n for n in range(60)]


def test_a_lock_that_is_kept_is_given_up_and_its_holder_told(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LOCK_WAIT_S", 0.2)
    with make_claim(StateDirectory(tmp_path / "state").key(), "leases"):
        told = rf"{ME.name} .pid {os.getpid()}. has kept the leases locked for 0\.2 s"
        with pytest.raises(LeaseError, match=told), store.locked():
            pass
    with store.locked():
        pass


def test_a_lock_whose_holder_is_just_gone_was_somebody_s(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LOCK_WAIT_S", 0.0)
    monkeypatch.setattr(stored, "ask", lambda *_: None)
    with make_claim(StateDirectory(tmp_path / "state").key(), "leases"):
        words = f"{tmp_path / 'state'}: somebody has kept the leases locked for 0 s"
        with pytest.raises(LeaseError) as caught, store.locked():
            pass
    assert str(caught.value) == words


def test_whoever_waits_for_the_lock_gets_it(store):
    entered = threading.Event()

    def enter():
        with store.locked():
            entered.set()

    with store.locked():
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.1)
    assert entered.wait(5)
    waiting.join(5)


def kept(tmp_path, uid=ME.uid):
    """Return where a user's leases are; the directory is made if it is not there."""
    place = tmp_path / "state" / str(uid)
    place.mkdir(exist_ok=True)
    if uid != ME.uid:
        os.chown(place, uid, -1)
    return place / "leases.sqlite"


def test_a_file_in_the_name_of_another_is_no_lease_of_theirs(store, tmp_path):
    with store.locked():
        lease = store.add(10, 20, ME)
    ours = kept(tmp_path)
    forged = tmp_path / "state" / str(STRANGER.uid)
    forged.mkdir()
    (forged / "leases.sqlite").write_bytes(ours.read_bytes())
    assert store.read() == [lease]
    shutil.rmtree(forged)
    forged.symlink_to(ours.parent)
    assert store.read() == [lease]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("kind", ["file", "directory", "link", "pipe"])
def test_a_name_that_another_took_first_keeps_nobody_out(store, tmp_path, kind):
    with store.locked():
        pass
    taken = tmp_path / "state" / str(ME.uid)
    if kind == "file":
        taken.write_text("alice was here")
    elif kind == "directory":
        taken.mkdir()
    elif kind == "link":
        taken.symlink_to("/etc")
    else:
        os.mkfifo(taken)
    os.chown(taken, STRANGER.uid, STRANGER.uid, follow_symlinks=False)
    for number in range(3):
        with store.locked():
            store.add(10.0 * number + 1, 10.0 * number + 2, ME)
    assert [lease.begins for lease in store.read()] == [1, 11, 21]
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_a_link_in_the_place_of_ours_is_refused(store, tmp_path):
    with store.locked():
        pass
    (tmp_path / "elsewhere").write_bytes(b"")
    kept(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LeaseError, match="cannot be written"), store.locked():
        store.add(10, 20, ME)
    assert (tmp_path / "elsewhere").read_bytes() == b""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE other (id)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, 'x', 'y')",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, 20, 10)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, 10, 10)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, 0, 9e999)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, NULL, 10)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES ('x', 1, 10)",
        "CREATE VIEW leases AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)"
        " SELECT id, 0 AS begins, -1 AS ends FROM n",
        "CREATE VIEW leases AS SELECT zeroblob(900000000) AS id, 1 AS begins, 2 AS ends",
        "PRAGMA journal_mode = WAL; CREATE TABLE leases (id, begins, ends)",
    ],
)
def test_whatever_a_stranger_keeps_hides_nothing_of_the_others(tmp_path, script):
    told = []
    store = Store(tmp_path / "state", told.append)
    with store.locked():
        lease = store.add(10, 20, ME)
    path = kept(tmp_path, STRANGER.uid)
    database(path, script)
    os.chown(path, STRANGER.uid, -1)
    assert store.read() == [lease]
    assert all(words.startswith("the leases of uid 12345 are left out") for words in told)
    if "INSERT" not in script:
        assert len(told) == 1


@pytest.mark.parametrize("damage", ["half", "pipe", "directory", "later version"])
def test_what_we_cannot_read_of_our_own_is_no_lease_but_a_refusal(store, tmp_path, damage):
    with store.locked():
        store.add(10, 20, ME)
    path = kept(tmp_path)
    content = path.read_bytes()
    path.unlink()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "directory":
        path.mkdir()
    else:
        path.write_bytes(content)
        database(path, "PRAGMA user_version = 99")
    with pytest.raises(LeaseError, match=r"your leases cannot be read: .*leases\.sqlite"):
        store.read()
    with pytest.raises(LeaseError, match="cannot be written"), store.locked():
        store.add(30, 40, ME)


def test_a_lease_may_last_as_long_as_times_go(store):
    with store.locked():
        lease = store.add(0, LATEST, ME)
    assert store.read() == [lease]


def test_a_state_that_is_no_directory_is_named(tmp_path):
    (tmp_path / "state").write_text("in the way")
    store = Store(tmp_path / "state")
    words = rf"\A{tmp_path}/state: Not a directory"
    with pytest.raises(LeaseError, match=words):
        store.read()
    with pytest.raises(LeaseError, match=words), store.locked():
        pass


def test_a_directory_that_cannot_be_looked_into_is_told(tmp_path, monkeypatch):
    told = []
    store = Store(tmp_path / "state", told.append)
    with store.locked():
        store.add(10, 20, ME)
    opened = Directory.open.__func__

    def open_but_users(cls, path, within=None, **options):
        if within is not None:
            raise PermissionError(13, "Permission denied")
        return opened(cls, path, within, **options)

    monkeypatch.setattr(Directory, "open", classmethod(open_but_users))
    assert store.read() == []
    assert told == [f"{tmp_path}/state/{ME.uid}: cannot be looked into: Permission denied"]


def test_a_database_that_takes_too_long_is_given_up(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "SECONDS", 0.0)
    monkeypatch.setattr(stored, "LARGEST", 100_000)
    with store.locked():
        pass
    database(
        kept(tmp_path),
        "CREATE VIEW leases AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)"
        " SELECT id, 0 AS begins, -1 AS ends FROM n",
    )
    with pytest.raises(LeaseError, match=r"your leases cannot be read: .*interrupted"):
        store.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_what_another_has_in_our_directory_is_not_ours(store, tmp_path):
    with store.locked():
        store.add(10, 20, ME)
    os.chown(kept(tmp_path), STRANGER.uid, -1)
    with pytest.raises(LeaseError, match="your leases cannot be read"):
        store.read()
    with pytest.raises(LeaseError, match="cannot be written"), store.locked():
        store.add(30, 40, ME)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize(("holder", "other"), [(ME, STRANGER), (STRANGER, ME)], ids=["we", "they"])
def test_who_has_no_leases_hides_none_of_the_others(store, tmp_path, holder, other):
    with store.locked():
        lease = store.add(10, 20, holder)
    kept(tmp_path, other.uid)
    assert store.read() == [lease]


def test_too_large_is_no_database(store, tmp_path, monkeypatch):
    with store.locked():
        store.add(10, 20, ME)
    monkeypatch.setattr(stored, "LARGEST", 1000)
    with pytest.raises(LeaseError, match="larger than 1000 bytes"):
        store.read()


def test_a_directory_where_anybody_could_remove_leases_is_refused(store, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(LeaseError, match=r"anybody could remove .* chmod \+t"):
        store.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(store, tmp_path):
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", STRANGER.uid, -1)
    with pytest.raises(LeaseError, match=r"belongs to uid 12345.*chown root") as caught:
        store.read()
    assert str(caught.value).startswith(f"{tmp_path / 'state'}: ")
    assert str(caught.value).count(f"{tmp_path / 'state'}:") == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act for another user")
def test_what_root_makes_for_a_user_is_that_user_s(store, tmp_path):
    with store.locked():
        lease = store.add(10, 20, STRANGER)
    assert lease.owner == "uid 12345"
    assert store.read() == [lease]
    assert (tmp_path / "state" / "12345" / "leases.sqlite").stat().st_uid == STRANGER.uid
    with store.locked():
        store.shorten(lease, 12)
    assert store.read() == [Lease(10, 12, "uid 12345", lease.name)]


def test_a_place_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(LeaseError, match=r"as root: mkdir -p"),
        stored.Store(tmp_path / "file" / "x").locked(),
    ):
        pass


def test_nothing_is_left_beside_the_databases(store, tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    with store.locked():
        lease = store.add(10, 20, ME)
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(LeaseError, match="No space left"):
            store.add(30, 40, ME)
    assert store.read() == [lease]
    assert [path.name for path in kept(tmp_path).parent.iterdir()] == ["leases.sqlite"]
