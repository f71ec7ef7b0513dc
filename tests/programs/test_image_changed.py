"""An image that somebody writes to while it is loaded: no node is good, and all know why."""

import shutil

import pytest
from emulated import events, wait_for_event

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(120)]


def test_a_load_of_an_image_that_is_overwritten_says_so(make_testbed):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    source = testbed.directory / "images" / "sample.ndz"
    image = testbed.directory / "mine.ndz"
    shutil.copyfile(source, image)
    words = ["rhubarbe-load", "--json", "-b", "1", "-i", str(image), "1-2"]
    with testbed.start(*words) as load:
        wait_for_event(load, "Progress")
        shutil.copyfile(source, image)
        rest = load.communicate(timeout=60)[0]
    told = events(rest)
    assert load.returncode == 1, rest[-2000:]
    assert [each["reason"] for each in told[-1]["nodes"]] == [
        f"{image}: was changed while it was loaded"
    ] * 2
