"""What a node holds, by the loads that are noted."""

from rhubarbe.gateway.state.history import NodeRun
from rhubarbe.operations.loaded import Loaded, last_loaded


def run(node, image, *, ok=True, phase="", command="load", started=1.0):
    return NodeRun(
        node=node,
        ok=ok,
        attempts=1,
        phase=phase,
        reason="",
        started=started,
        command=command,
        phases={},
        image=image,
    )


def test_the_last_load_counts_for_each_node():
    runs = [
        run("fit01", "/images/a.ndz"),
        run("fit02", "/images/a.ndz"),
        run("fit01", "/images/b.ndz", started=2.0),
        run("fit01", "", command="wait", started=3.0),
        run("fit02", "", command="save", started=4.0),
    ]
    assert last_loaded(runs) == {
        "fit01": Loaded("/images/b.ndz", 2.0, whole=True),
        "fit02": Loaded("/images/a.ndz", 1.0, whole=True),
    }


def test_a_load_that_failed_before_the_image_changed_nothing():
    for phase in ("link", "reset", "ramdisk"):
        runs = [run("fit01", "/a.ndz"), run("fit01", "/b.ndz", ok=False, phase=phase)]
        assert last_loaded(runs)["fit01"].name == "a"


def test_one_that_failed_within_the_image_left_nothing_whole():
    last = last_loaded([run("fit01", "/a.ndz"), run("fit01", "/b.ndz", ok=False, phase="image")])
    assert last["fit01"] == Loaded("/b.ndz", 1.0, whole=False)
    assert not last["fit01"].is_called("b")
    assert not last["fit01"].is_called("a")


def test_one_that_failed_after_the_image_had_written_it():
    for phase in ("stamp", "boot", "ssh"):
        last = last_loaded([run("fit01", "/b.ndz", ok=False, phase=phase)])
        assert last["fit01"].whole


def test_loads_of_which_the_image_was_not_noted_tell_nothing():
    assert last_loaded([run("fit01", "")]) == {}


def test_an_image_is_called_by_name_file_or_path():
    loaded = Loaded("/images/a.ndz", 1.0, whole=True)
    assert all(map(loaded.is_called, ("a", "a.ndz", "/images/a.ndz")))
    assert not any(map(loaded.is_called, ("", "images", "A", "/a.ndz", "/images/a")))
