"""The history: each user's own database, read together; whatever is wrong with one of them."""

import contextlib
import fcntl
import os
import sqlite3
import struct
import subprocess
import sys
from dataclasses import replace

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.events import NodeResult, Phase
from rhubarbe.gateway.state import history as histories
from rhubarbe.gateway.state.history import History, Run
from rhubarbe.shared.trust import name_of

WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from rhubarbe.events import NodeResult
from rhubarbe.gateway.state.history import History, Run

node = NodeResult(node="fit01", number=1, ok=True, seconds=1.0)
for _ in range(20):
    History(Path(sys.argv[1])).add(
        Run(started=1e9, command="load", exit_code=0, seconds=1.0, nodes=[node])
    )
"""


def run(*results, started=1e9, command="load"):
    return Run(started=started, command=command, exit_code=0, seconds=9.0, nodes=results)


def good(node="fit01", **more):
    return NodeResult(node=node, number=1, ok=True, seconds=9.0, **more)


def bad(node="fit02"):
    return NodeResult(
        node=node, number=2, ok=False, seconds=9.0, phase=Phase.RESET, reason="no answer"
    )


def test_what_is_noted_is_read_in_the_order_of_noting(tmp_path):
    history = History(tmp_path)
    history.add(run(good(attempts=2), started=1.9e9, command="save"))
    history.add(run(good(phases={Phase.RESET: 1.5, Phase.IMAGE: 3.0}), bad(), started=1.8e9))
    first, second, third = history.runs()
    assert (first.command, first.node, first.attempts, first.ok) == ("save", "fit01", 2, True)
    assert second.phases == {"reset": 1.5, "image": 3.0}
    assert (third.node, third.ok, third.phase, third.reason) == (
        "fit02",
        False,
        "reset",
        "no answer",
    )


def test_nothing_noted_yet(tmp_path):
    assert History(tmp_path / "none").runs() == []


def place(state, uid=None):
    """Return the directory of a user, us if no other, made if it is not there."""
    uid = os.getuid() if uid is None else uid
    (state / str(uid)).mkdir(exist_ok=True)
    if uid != os.getuid():
        os.chown(state / str(uid), uid, -1)
    return state / str(uid)


def test_the_older_half_is_forgotten_once_the_file_is_large(tmp_path, monkeypatch):
    monkeypatch.setattr(histories, "LARGEST", 1 << 17)
    history = History(tmp_path)
    for number in range(60):
        history.add(run(good("fit09", reason="r" * 2000), started=1e9 + number))
    file = place(tmp_path) / "history.sqlite"
    assert file.stat().st_size < 1 << 17
    noted = [each.started - 1e9 for each in history.runs()]
    assert noted == list(range(60 - len(noted), 60))
    assert 5 < len(noted) < 60


def test_old_runs_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("rhubarbe.gateway.state.history.KEPT", 2)
    history = History(tmp_path)
    for node in ("fit01", "fit02", "fit03"):
        history.add(run(good(node)))
    assert [each.node for each in history.runs()] == ["fit02", "fit03"]


def test_a_clock_that_jumped_ahead_and_back_forgets_nothing_and_changes_no_order(tmp_path):
    history = History(tmp_path)
    for node, started in (("fit01", 1e9), ("fit02", 9e9), ("fit03", 1.1e9), ("fit04", 0.0)):
        history.add(run(good(node), started=started))
    assert [each.node for each in history.runs()] == ["fit01", "fit02", "fit03", "fit04"]


def test_several_writers_at_once_lose_nothing(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path]) for _ in range(3)]
    assert [writer.wait(15) for writer in writers] == [0, 0, 0]
    assert len(History(tmp_path).runs()) == 60


def test_a_database_that_is_locked_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("rhubarbe.gateway.state.history.LOCK_WAIT_S", 0.3)
    history = History(tmp_path)
    history.add(run(good()))
    with (place(tmp_path) / ".history.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(GatewayError, match=r"not noted in the history: another command"):
            history.add(run(good()))


def test_a_time_that_no_date_has_is_the_last_that_one_has(tmp_path):
    for started in (1e300, -1e300):
        History(tmp_path).add(run(good(), started=started))
    assert {each.started for each in History(tmp_path).runs()} == {0.0, 2.0**33 - 1}


TABLES = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started, command, exit_code, seconds, image);
CREATE TABLE nodes (run, node, ok, attempts, seconds, phase, reason);
CREATE TABLE phases (run, node, phase, seconds);
INSERT INTO runs VALUES (1, 1e9, 'load', 0, 1.0, 'x');
"""
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
VIEWS = "CREATE TABLE phases (run, node, phase, seconds); " + TABLES.split(";")[0] + ";"
ODD = {
    "no table": "CREATE TABLE other (id)",
    "a count that is none": TABLES + "INSERT INTO nodes VALUES (1, 'f', 1, 'many', 1, NULL, '')",
    "a time beyond all": TABLES + "INSERT INTO nodes VALUES (1, 'f', 1, 1, 1, NULL, '');"
    "UPDATE runs SET started = 9e999",
    "an endless span": TABLES + "INSERT INTO phases VALUES (1, 'f', 'image', 9e999)",
    "a view without end": VIEWS
    + f"INSERT INTO runs VALUES (1, 1e9, 'load', 0, 1.0, 'x'); CREATE VIEW nodes AS {ENDLESS}"
    " SELECT 1 AS run, 'f' AS node, 1 AS ok, 1 AS attempts, 1.0 AS seconds, '' AS phase,"
    " '' AS reason FROM c WHERE x < 0;",
    "rows without end": VIEWS
    + f"INSERT INTO runs VALUES (1, 1e9, 'load', 0, 1.0, 'x'); CREATE VIEW nodes AS {ENDLESS}"
    " SELECT 1 AS run, 'f' AS node, 1 AS ok, 1 AS attempts, 1.0 AS seconds, '' AS phase,"
    " printf('%.50000c', 'x') || x AS reason FROM c;",
    "a value of a gibibyte": VIEWS
    + "INSERT INTO runs VALUES (1, 1e9, 'load', 0, 1.0, 'x'); CREATE VIEW nodes AS"
    " SELECT 1 AS run, 'f' AS node, 1 AS ok, 1 AS attempts, 1.0 AS seconds, '' AS phase,"
    " zeroblob(900000000) AS reason;",
    "a later version": TABLES + "PRAGMA user_version = 99",
}


@pytest.mark.parametrize("script", ODD.values(), ids=ODD)
def test_what_a_stranger_keeps_hides_nothing_and_is_told(tmp_path, script):
    history, stranger = History(tmp_path), 4001 if os.getuid() == 0 else os.getuid()
    file = place(tmp_path, stranger) / "history.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.executescript(script)
    os.chown(file, stranger, -1)
    if stranger != os.getuid():
        history.add(run(good()))
    told = []
    assert [each.node for each in history.runs(told.append)] == ["fit01"][: stranger != os.getuid()]
    assert len(told) == 1
    assert told[0].startswith(f"the history of {name_of(stranger)} is left out")


@pytest.mark.parametrize("kind", ["pipe", "link", "damaged", "huge", "journal"])
def test_no_file_of_a_stranger_is_obeyed_or_waited_for(tmp_path, kind):
    file = place(tmp_path) / "history.sqlite"
    precious = tmp_path / "precious"
    precious.write_text("precious")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "link":
        file.symlink_to("/dev/zero")
    elif kind == "damaged":
        file.write_bytes(b"no database at all" * 100)
    elif kind == "huge":
        with file.open("wb") as stream:
            stream.truncate(1 << 34)
    else:
        # What SQLite would roll back, and then remove the file that the journal names.
        History(tmp_path).add(run(good()))
        name = str(precious).encode()
        tail = struct.pack(">I", 1) + name + struct.pack(">I", len(name))
        journal = bytes.fromhex("d9d505f920a163d7") + b"\0" * 504 + tail
        file.with_name("history.sqlite-journal").write_bytes(journal)
    told = []
    History(tmp_path).runs(told.append)
    assert len(told) == (kind != "journal")
    assert precious.read_text() == "precious"
    if kind == "journal":
        assert file.with_name("history.sqlite-journal").read_bytes() == journal


def test_a_state_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewayError, match="not noted"):
        History(tmp_path / "file").add(run(good()))


FIRST_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, started REAL, command TEXT, exit_code INTEGER, seconds REAL);
CREATE TABLE nodes (
    run INTEGER REFERENCES runs ON DELETE CASCADE, node TEXT, ok INTEGER, attempts INTEGER,
    seconds REAL, phase TEXT, reason TEXT);
CREATE TABLE phases (
    run INTEGER REFERENCES runs ON DELETE CASCADE, node TEXT, phase TEXT, seconds REAL);
INSERT INTO runs VALUES (1, 1e9, 'load', 0, 9.0);
INSERT INTO nodes VALUES (1, 'fit03', 1, 1, 9.0, NULL, '');
"""


def test_the_image_is_noted(tmp_path):
    history = History(tmp_path)
    history.add(replace(run(good()), image="/images/a.ndz"))
    history.add(run(good(), command="wait"))
    assert [each.image for each in history.runs()] == ["/images/a.ndz", ""]


def test_that_a_node_was_not_to_blame_is_noted_and_forgotten_with_the_run(tmp_path, monkeypatch):
    history = History(tmp_path)
    history.add(run(good(), replace(bad(), blameless=True)))
    history.add(run(bad()))
    assert [each.blameless for each in history.runs()] == [False, True, False]
    monkeypatch.setattr("rhubarbe.gateway.state.history.KEPT", 1)
    history.add(run(good()))
    with contextlib.closing(sqlite3.connect(place(tmp_path) / "history.sqlite")) as kept:
        assert kept.execute("SELECT count(*) FROM blameless").fetchone() == (0,)


def test_a_database_of_the_time_before_images_were_noted_is_read_and_written(tmp_path):
    history = History(tmp_path)
    path = place(tmp_path) / "history.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(FIRST_SCHEMA)
    assert [(each.node, each.image) for each in history.runs()] == [("fit03", "")]
    for _ in range(2):
        history.add(replace(run(good()), started=1.01e9, image="/a.ndz"))
    assert [each.image for each in history.runs()] == ["", "/a.ndz", "/a.ndz"]


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\x00"[:1], "größer".encode()])
def test_names_and_reasons_may_be_no_text(tmp_path, name):
    path = os.fsdecode(b"/images/" + name + b".ndz")
    node = replace(bad(), reason=f"{path}: no such file")
    History(tmp_path).add(replace(run(node), image=path))
    (noted,) = History(tmp_path).runs()
    assert (noted.image, noted.reason) == (path, f"{path}: no such file")


def test_what_cannot_be_noted_is_said_in_the_way_of_other_faults(tmp_path):
    with pytest.raises(GatewayError, match="not noted in the history"):
        History(tmp_path).add(replace(run(good()), image="\ud800"))


def test_a_stranger_s_text_that_is_none_hides_no_other_row(tmp_path):
    History(tmp_path).add(run(good(), bad()))
    (path,) = tmp_path.glob("*/history.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE nodes SET reason = CAST(x'ff41' AS TEXT) WHERE node = 'fit02'")
    assert [each.node for each in History(tmp_path).runs()] == ["fit01", "fit02"]
