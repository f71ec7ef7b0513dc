"""The leases on disk: whose they are is who owns the file; what is wrong with it is its own."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from rhubarbe.errors import LeaseError
from rhubarbe.leases import store as stored
from rhubarbe.leases.lease import Lease
from rhubarbe.leases.user import User, user_of

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
    (path,) = (tmp_path / "state").iterdir()
    assert path.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "state").stat().st_mode & 0o7777 == 0o1777


def test_processes_that_add_at_once_take_turns(store, tmp_path):
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, tmp_path / "state"]) for _ in range(3)]
    assert [adder.wait(30) for adder in adders] == [0, 0, 0]
    assert sorted(lease.begins for lease in store.read()) == [10.0 * n for n in range(60)]


def test_a_lock_that_is_kept_is_given_up(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LOCK_PATIENCE", 0.2)
    with store.locked():
        pass
    descriptor = os.open(tmp_path / "state", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(LeaseError, match=r"kept this directory locked for 0\.2 s"), store.locked():
        pass
    os.close(descriptor)
    with store.locked():
        pass


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


def test_a_file_in_the_name_of_another_is_no_lease_of_theirs(store, tmp_path):
    with store.locked():
        lease = store.add(10, 20, ME)
    ours = tmp_path / "state" / f"leases.{ME.uid}.sqlite"
    forged = ours.with_name(f"leases.{STRANGER.uid}.sqlite")
    forged.write_bytes(ours.read_bytes())
    assert store.read() == [lease]
    forged.unlink()
    forged.symlink_to(ours)
    assert store.read() == [lease]


def test_a_file_that_another_laid_in_our_place_is_refused(store, tmp_path):
    with store.locked():
        pass
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "state" / f"leases.{ME.uid}.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LeaseError, match="cannot be written"), store.locked():
        store.add(10, 20, ME)
    assert (tmp_path / "elsewhere").read_bytes() == b""


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE other (id)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, 'x', 'y')",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, 20, 10)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, 0, 9e999)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES (1, NULL, 10)",
        "CREATE TABLE leases (id, begins, ends); INSERT INTO leases VALUES ('x', 1, 10)",
        "CREATE VIEW leases AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)"
        " SELECT id, 0 AS begins, -1 AS ends FROM n",
        "CREATE VIEW leases AS SELECT zeroblob(900000000) AS id, 1 AS begins, 2 AS ends",
        "PRAGMA journal_mode = WAL; CREATE TABLE leases (id, begins, ends)",
    ],
)
def test_whatever_a_stranger_keeps_hides_nothing_of_the_others(
    store, tmp_path, script, monkeypatch
):
    with store.locked():
        lease = store.add(10, 20, ME)
    path = tmp_path / "state" / f"leases.{ME.uid}.sqlite"
    kept = path.read_bytes()
    path.unlink()
    database(path, script)
    assert store.read() == []
    path.write_bytes(kept[: len(kept) // 2])
    assert store.read() == []
    path.write_bytes(kept)
    assert store.read() == [lease]


def test_a_pipe_or_a_directory_holds_nobody_up(store, tmp_path):
    with store.locked():
        pass
    path = tmp_path / "state" / f"leases.{ME.uid}.sqlite"
    os.mkfifo(path)
    assert store.read() == []
    path.unlink()
    path.mkdir()
    assert store.read() == []


def test_too_large_is_no_database(store, tmp_path, monkeypatch):
    with store.locked():
        store.add(10, 20, ME)
    monkeypatch.setattr(stored, "LARGEST", 1000)
    assert store.read() == []


def test_a_directory_where_anybody_could_remove_leases_is_refused(store, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(LeaseError, match=r"anybody could remove .* chmod \+t"):
        store.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(store, tmp_path):
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", STRANGER.uid, -1)
    with pytest.raises(LeaseError, match=r"belongs to uid 12345.*chown root"):
        store.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act for another user")
def test_what_root_makes_for_a_user_is_that_user_s(store, tmp_path):
    with store.locked():
        lease = store.add(10, 20, STRANGER)
    assert lease.owner == "uid 12345"
    assert store.read() == [lease]
    assert (tmp_path / "state" / "leases.12345.sqlite").stat().st_uid == STRANGER.uid
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
    assert [path.name for path in (tmp_path / "state").iterdir()] == [f"leases.{ME.uid}.sqlite"]
