import json
import os
import subprocess

import pytest

from rhubarbe.displays import report as report_module
from rhubarbe.displays.report import Report
from rhubarbe.events import Finished, ImageChosen, NodeResult, Phase, Started

RESULT = NodeResult(
    node="fit03",
    number=3,
    ok=False,
    seconds=9.0,
    phase=Phase.RESET,
    reason="no answer",
    phases={Phase.RESET: 9.0},
)
FINISHED = Finished(command="load", good="1", bad="3", exit_code=1, seconds=9.5, nodes=(RESULT,))


def test_one_document_with_all_that_became_of_the_nodes(tmp_path, clock):
    path = tmp_path / "report.json"
    path.write_text("old")
    report = Report(path, clock=clock)
    report.show(Started(command="load", nodes=("fit01", "fit03")))
    report.show(ImageChosen(path="/images/a.ndz", size=1, chunks=1))
    report.show(FINISHED)
    clock.advance(10)
    report.write()
    assert json.loads(path.read_text()) == {
        "started": "2026-11-25T10:00:00.000+00:00",
        "ended": "2026-11-25T10:00:10.000+00:00",
        "command": "load",
        "selection": ["fit01", "fit03"],
        "image": "/images/a.ndz",
        "good": "1",
        "bad": "3",
        "exit_code": 1,
        "seconds": 9.5,
        "nodes": [
            {
                "node": "fit03",
                "number": 3,
                "ok": False,
                "seconds": 9.0,
                "attempts": 1,
                "phase": "reset",
                "reason": "no answer",
                "phases": {"reset": 9.0},
                "blameless": False,
            }
        ],
    }
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


def test_a_command_that_could_not_begin(tmp_path, clock):
    report = Report(tmp_path / "report.json", clock=clock)
    report.fail("fit01 is taken by another")
    report.write()
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["error"] == "fit01 is taken by another"
    assert told["exit_code"] == 1


def test_a_device_is_written_to_and_not_replaced(tmp_path, clock):
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    Report(link, clock=clock).write()
    assert link.is_symlink()


def test_a_file_that_cannot_be_written_leaves_no_draft(tmp_path, clock, monkeypatch):
    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"):
        Report(path, clock=clock).write()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a pipe away")
@pytest.mark.parametrize("is_linked", [False, True])
def test_another_s_pipe_is_refused_and_its_reader_not_waited_for(tmp_path, monkeypatch, is_linked):
    path = tmp_path / "report"
    os.mkfifo(path, 0o622)
    os.chown(path, 4001, 4001)
    if is_linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    monkeypatch.setattr(report_module, "WRITTEN_WITHIN_S", 60)  # beyond what a test may take
    with pytest.raises(OSError, match="it belongs to uid 4001, and is no file"):
        Report(path).write()


def test_a_pipe_of_ours_is_written_to(tmp_path):
    path = tmp_path / "report"
    os.mkfifo(path)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as reader:
        Report(path).write()
        assert json.loads(reader.stdout.read())["exit_code"] == 1
    assert path.is_fifo()
