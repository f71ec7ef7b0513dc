"""The history: each user's own database, read together; whatever is wrong with one of them."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.events import NodeResult, Phase
from rhubarbe.gateway.history import History, Run

WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from rhubarbe.events import NodeResult
from rhubarbe.gateway.history import History, Run

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


def test_old_runs_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("rhubarbe.gateway.history.KEPT", 2)
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
    monkeypatch.setattr("rhubarbe.gateway.history.LOCK_PATIENCE", 0.5)
    history = History(tmp_path)
    history.add(run(good()))
    path = next((tmp_path / "history").iterdir())
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(GatewayError, match=r"not noted in the history: database is locked"):
        history.add(run(good()))
    other.close()


@pytest.mark.parametrize(
    "rows", ["('x', 'fit01', 1, 'many', 1.0, NULL, '')", "(1, 2, 3, 4, 5, 6, 7)"]
)
def test_what_a_stranger_wrote_hides_nothing_of_the_others(tmp_path, rows):
    history = History(tmp_path)
    history.add(run(good()))
    (tmp_path / "history" / "6.sqlite").write_bytes(b"no database at all" * 100)
    with sqlite3.connect(tmp_path / "history" / "7.sqlite") as database:
        database.executescript(
            "CREATE TABLE runs (id, started, command, exit_code, seconds);"
            "CREATE TABLE nodes (run, node, ok, attempts, seconds, phase, reason);"
            "CREATE TABLE phases (run, node, phase, seconds);"
            "INSERT INTO runs VALUES ('x', 'then', 'load', 0, 1.0);"
            f"INSERT INTO nodes VALUES {rows}"
        )
    database.close()
    assert [each.node for each in history.runs()] == ["fit01"]


def test_a_link_in_the_place_of_ours_is_refused(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    (tmp_path / "history").mkdir()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    (tmp_path / "history" / "12345.sqlite").symlink_to(elsewhere)
    with pytest.raises(GatewayError, match="not a file of yours"):
        History(tmp_path).add(run(good()))
    assert elsewhere.read_text() == ""


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


def test_a_database_of_the_time_before_images_were_noted_is_read_and_written(tmp_path):
    history = History(tmp_path)
    (tmp_path / "history").mkdir()
    path = tmp_path / "history" / f"{os.getuid()}.sqlite"
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
    (path,) = tmp_path.glob("history/*.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE nodes SET reason = CAST(x'ff41' AS TEXT) WHERE node = 'fit02'")
    assert [each.node for each in History(tmp_path).runs()] == ["fit01", "fit02"]
