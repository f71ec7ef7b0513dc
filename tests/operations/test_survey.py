"""Looks at nodes that touch nothing: which are on, which are up, what is on their disks."""

import re

import pytest

from rhubarbe.errors import CardError, CommandFailed, Mistrusted, Refused
from rhubarbe.events import NodeAnswered, Phase
from rhubarbe.operations.load import LoadRequest, load
from rhubarbe.operations.survey import tell_images, which_are_on, which_are_up


async def test_those_that_are_on_are_told_from_cards_that_do_not_say(testbed):
    testbed.first.restart(is_on=False)
    testbed.third.spoilt["is_on"] = CardError("no answer in 5 s to status")
    on, silent = await which_are_on(testbed.entries, testbed.settings, testbed.doors)
    assert on == [testbed.second.entry]
    assert silent == ["reboot03: no answer in 5 s"]


async def test_those_are_up_that_listen_on_their_ssh_port(testbed):
    testbed.second.runs = "ramdisk"
    up = await which_are_up(testbed.entries, testbed.settings, testbed.doors)
    assert up == [testbed.first.entry, testbed.third.entry]


@pytest.fixture
def told(testbed):
    """Ask all the nodes what is on their disks; return what is said of each."""

    async def work():
        await tell_images(testbed.entries, 1.0, testbed.settings, testbed.bus, testbed.doors)
        assert testbed.told[0].command == "status"
        assert testbed.noted("status") == {}
        return {event.node: event.text for event in testbed.of(NodeAnswered)}

    return work


async def test_a_node_that_is_up_shows_its_last_stamp(testbed, told):
    testbed.first.stamps = "2026-11-24 - image old\n2026-11-25 - image mine\n\n"
    testbed.second.spoilt[Phase.SSH] = CommandFailed("cat: no such file")
    testbed.third.runs = ""
    assert await told() == {
        "fit01": "no load is noted; stamped 2026-11-25 - image mine",
        "fit02": "no load is noted; without a stamp",
    }
    assert testbed.results() == {"fit01": None, "fit02": None, "fit03": Phase.SSH}
    assert testbed.finished.nodes[2].reason == "no load is noted, and it is not up"


async def test_the_last_load_is_told_also_of_nodes_that_are_not_up(testbed, told):
    request = LoadRequest(
        image=testbed.image, entries=testbed.entries, limit=60.0, bandwidth_mibps=100
    )
    await testbed.run(load(request, testbed.settings, testbed.bus, testbed.doors))
    testbed.told.clear()
    testbed.first.runs = ""
    testbed.second.spoilt[Phase.SSH] = Refused("does not let us in")
    said = await told()
    assert re.fullmatch(r"loaded with mine on 20\d\d-\d\d-\d\d \d\d:\d\d; not up", said["fit01"])
    assert said["fit02"].endswith("; up, but does not let us in")
    assert testbed.finished.good == "1-3"


async def test_of_whoever_answers_in_the_place_of_a_node_nothing_is_told(testbed, told):
    testbed.first.spoilt[Phase.SSH] = Mistrusted("shows another host key")
    assert set(await told()) == {"fit02", "fit03"}
    assert testbed.finished.bad == "1"
