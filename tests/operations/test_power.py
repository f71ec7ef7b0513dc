"""Questions and orders for power: what is answered, and that an order is seen to be done."""

import pytest

from rhubarbe.errors import CardError, CommandFailed, GatewayError, Refused, Unreachable
from rhubarbe.events import NodeAnswered, Notice, Phase, Started
from rhubarbe.gateway.state.locks import hold
from rhubarbe.operations.power import PowerRequest, power


@pytest.fixture
def telling(testbed):
    """Return what asks all the nodes, or gives them an order, whatever becomes of it."""

    async def work(verb, **options):
        request = PowerRequest(verb=verb, entries=testbed.entries, **options)
        await power(request, testbed.settings, testbed.bus, testbed.doors)
        assert testbed.told[0] == Started(command=verb, nodes=("fit01", "fit02", "fit03"))
        return {event.node: event for event in testbed.of(NodeAnswered)}

    return work


def texts(answers):
    return [answers[name].text for name in sorted(answers)]


@pytest.fixture
def quick(testbed):
    """A testbed where what does not happen is given up soon."""
    testbed.limit(idle_after_reset=0.1)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("status", ["on", "off", "on"]),
        ("usrpstatus", ["usrpoff"] * 3),
        ("info", ["I am reboot01", "I am reboot02", "I am reboot03"]),
    ],
)
async def test_a_question_is_answered_by_all_and_noted_nowhere(testbed, telling, verb, said):
    testbed.second.restart(is_on=False)
    assert texts(await telling(verb)) == said
    assert testbed.finished.good == "1-3"
    assert testbed.noted(verb) == {}


async def test_what_everything_is_is_told_before_anything_is_touched(testbed, telling):
    await telling("bye", everything=True)
    first = testbed.told[1]
    assert first == Notice(text="bye to everything: nodes 1-3, with their USRPs")
    assert testbed.second.orders == ["off", "usrpoff"]


async def test_a_question_may_be_asked_while_another_command_works(testbed, telling):
    async with hold(testbed.state, "load", ["fit01"], 0.0):
        await telling("status")
    assert testbed.finished.good == "1-3"


@pytest.mark.parametrize("said", ["", "perhaps"])
async def test_an_answer_that_is_none_is_the_fault_of_the_card(testbed, telling, said):
    testbed.second.control.says = said
    answer = (await telling("status"))["fit02"]
    assert not answer.ok
    assert answer.card == "reboot02"
    assert answer.text == f"answers status with {said!r}, expected on or off"
    assert testbed.finished.bad == "2"


async def test_a_card_that_does_not_answer_is_named_without_the_question(testbed, telling):
    testbed.second.spoilt["status"] = CardError("no answer in 5 s to status")
    answer = (await telling("status"))["fit02"]
    assert (answer.text, answer.card) == ("no answer in 5 s", "reboot02")


@pytest.mark.parametrize(
    ("verb", "orders", "said", "runs"),
    [
        ("on", ["on"], "on", "disk"),
        ("off", ["off"], "off", ""),
        ("reset", ["reset"], "reset", "disk"),
        ("usrpon", ["usrpon"], "usrpon", "disk"),
        ("usrpoff", ["usrpoff"], "usrpoff", "disk"),
        ("bothoff", ["off", "usrpoff"], "off, usrpoff", ""),
        ("bye", ["off", "usrpoff"], "off, usrpoff", ""),
    ],
)
async def test_an_order_is_done_and_noted(testbed, telling, verb, orders, said, runs):
    assert texts(await telling(verb)) == [said] * 3
    assert {(*node.orders, node.runs) for node in testbed.nodes} == {(*orders, runs)}
    assert testbed.noted(verb) == {"fit01": None, "fit02": None, "fit03": None}
    await testbed.require_all_given_back()


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("off", "says ok to off, but that the node is on"),
        ("usrpon", "says ok to usrpon, but does not do it"),
        ("bothoff", "says ok to off, but that the node is on"),
    ],
)
async def test_a_card_that_only_says_ok_is_blamed(testbed, telling, quick, verb, words):
    testbed.second.ignores = {"off", "usrpon"}
    answer = (await telling(verb))["fit02"]
    assert (answer.ok, answer.text, answer.card) == (False, words, "reboot02")
    assert testbed.finished.bad == "2"


async def test_where_a_node_stays_on_its_usrp_is_switched_off_all_the_same(testbed, telling, quick):
    testbed.third.ignores = {"off"}
    testbed.third.control.usrp = "usrpon"
    await telling("bye")
    assert testbed.finished.bad == "3"
    assert testbed.third.control.usrp == "usrpoff"


async def test_who_has_no_usrp_is_switched_off_all_the_same(testbed, telling):
    testbed.second.control.has_usrp = False
    assert texts(await telling("bye")) == ["off, usrpoff", "off", "off, usrpoff"]
    assert testbed.second.orders == ["off"]
    assert testbed.finished.good == "1-3"


async def test_a_node_that_is_off_is_not_reset(testbed, telling):
    testbed.second.restart(is_on=False)
    answer = (await telling("reset"))["fit02"]
    assert answer.text == "is off, which a reset does not change: rhubarbe-on does"
    assert answer.card == ""
    assert testbed.second.orders == []


async def test_an_interrupt_gives_the_nodes_back(testbed):
    testbed.second.spoilt["off"] = testbed.hang
    request = PowerRequest(verb="off", entries=testbed.entries)
    await testbed.interrupt(power(request, testbed.settings, testbed.bus, testbed.doors))
    assert testbed.results()["fit02"] is Phase.POWER


async def test_a_node_that_another_command_works_on_gets_no_order(testbed, telling):
    async with hold(testbed.state, "load", ["fit02"], 0.0):
        with pytest.raises(
            GatewayError, match=r"fit02 is taken by .* load .*: nothing was touched"
        ):
            await telling("off")
    assert all(not node.orders for node in testbed.nodes)


async def test_a_soft_shutdown_comes_before_the_order(testbed, telling):
    answers = await telling("off", softly=True)
    assert texts(answers) == ["off"] * 3
    assert all("shutdown -h now" in node.asked for node in testbed.nodes)


@pytest.mark.parametrize(
    ("fault", "lack"),
    [
        (Refused("does not let us in"), "does not let us in"),
        (CommandFailed("shutdown: not found"), "shutdown: not found"),
        (Unreachable("cut"), "not done in 0.1 s"),
    ],
)
async def test_who_cannot_be_shut_down_is_switched_off_and_it_is_told(
    testbed, telling, fault, lack
):
    testbed.second.spoilt[Phase.SSH] = fault
    answers = await telling("off", softly=True)
    assert texts(answers) == ["off", f"off (no soft shutdown: {lack})", "off"]
    assert testbed.finished.good == "1-3"


async def test_who_answers_on_no_ssh_is_switched_off_at_once(testbed, telling):
    testbed.second.runs = "ramdisk"
    answers = await telling("off", softly=True)
    assert answers["fit02"].text == "off (no soft shutdown: no answer on ssh)"


@pytest.mark.parametrize("limit", [None, 30.0])
async def test_the_limit_of_an_order_allows_for_turns(testbed, telling, limit):
    await telling("on", limit=limit)
    assert testbed.finished.good == "1-3"
