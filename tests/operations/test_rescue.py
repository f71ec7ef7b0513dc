"""A rescue: nodes stay in the ramdisk, by a link that stays, until they are taken back."""

import re

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.events import NodeFailed, Phase, Started
from rhubarbe.operations.rescue import RescueRequest, rescue


@pytest.fixture
def rescuing(testbed):
    """Return what rescues all the nodes."""

    def work(**options):
        request = RescueRequest(entries=testbed.entries, limit=60.0, **options)
        return rescue(request, testbed.settings, testbed.bus, testbed.doors)

    return work


def names(*nodes):
    return [node.link.name for node in nodes]


async def test_nodes_stay_in_the_ramdisk_however_they_restart(testbed, rescuing):
    await testbed.run(rescuing())
    assert testbed.told[0] == Started(command="rescue", nodes=("fit01", "fit02", "fit03"))
    assert testbed.finished.good == "1-3"
    assert testbed.links() == names(*testbed.nodes)
    testbed.first.restart(is_on=True)
    assert {node.runs for node in testbed.nodes} == {"ramdisk"}


@pytest.mark.parametrize("phase", [Phase.RESET, Phase.RAMDISK], ids=str)
async def test_a_node_that_does_not_get_there_keeps_no_link(testbed, rescuing, faults, phase):
    testbed.second.spoilt[phase] = faults[phase]
    await testbed.run(rescuing())
    assert testbed.results() == {"fit01": None, "fit02": phase, "fit03": None}
    assert testbed.links() == names(testbed.first, testbed.third)


@pytest.mark.parametrize("phase", [Phase.RESET, Phase.RAMDISK], ids=str)
async def test_nor_does_one_when_interrupted(testbed, rescuing, phase):
    for node in testbed.nodes:
        node.spoilt[phase] = testbed.hang
    await testbed.interrupt(rescuing())
    assert testbed.finished.bad == "1-3"
    assert testbed.links() == []


async def test_nodes_that_are_taken_back_boot_their_disks_from_then_on(testbed, rescuing):
    await testbed.run(rescuing())
    testbed.told.clear()
    await testbed.run(rescuing(releases=True))
    assert testbed.finished.good == "1-3"
    assert {node.runs for node in testbed.nodes} == {"disk"}
    assert testbed.links() == []


async def test_a_link_that_somebody_else_made_is_left_and_named(testbed, rescuing):
    testbed.third.link.symlink_to("anything")
    await testbed.run(rescuing(releases=True))
    assert testbed.finished.bad == "3"
    (failed,) = testbed.of(NodeFailed)
    assert "not ours: remove it by hand" in failed.reason
    assert testbed.third.orders == []
    assert testbed.links() == names(testbed.third)


async def test_a_boot_file_of_the_operator_s_is_refused_before_any_node_is_touched(
    testbed, rescuing
):
    testbed.third.link.write_text("default memtest\n")
    with pytest.raises(GatewayError) as caught:
        await rescuing()
    assert re.fullmatch(
        r"no nextboot link can be made, and nothing was touched: .*/01-02-00-00-00-00-03: is not a"
        r" link that rhubarbe made: move it away; as root: mv \S+ \S+\.kept",
        str(caught.value),
    )
    assert testbed.links() == names(testbed.third)
    assert testbed.third.link.read_text() == "default memtest\n"
    assert [node.orders for node in testbed.nodes] == [[], [], []]
