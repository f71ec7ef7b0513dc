"""Power controls of any kind are asked side by side, and each that does not answer is named."""

import asyncio

import pytest
from absent import entry

from rhubarbe.config import Settings
from rhubarbe.doctor import power
from rhubarbe.doctor.site import Site
from rhubarbe.errors import CardError, CardRefused, GatewayError
from rhubarbe.events import Health
from rhubarbe.node.power import PowerState
from rhubarbe.transports.power import Inputs, PowerControl

SILENCE = object()
"""The answer of what nothing bounds."""


class Refusing(PowerControl):
    """What raises an error whenever it is asked."""

    def __init__(self, name, error):
        self.name = name
        self._error = error

    async def is_on(self):
        raise self._error

    async def send(self, order):
        raise self._error


class Control:
    """A control that answers once all have been asked."""

    def __init__(self, number, all_asked, answer):
        self.name = f"reboot{number:02}"
        self._all_asked = all_asked
        self._answer = answer

    async def examined(self):
        async with asyncio.timeout(30):
            await self._all_asked.wait()
        if self._answer is SILENCE:
            await asyncio.Event().wait()
        if isinstance(self._answer, Exception):
            return await Inputs([Refusing(self.name, self._answer)]).examined()
        return PowerState(self._answer), []


@pytest.fixture
def asked(monkeypatch):
    """Ask controls that answer so; return the findings."""

    async def ask(*answers, limit_s=5.0):
        all_asked = asyncio.Barrier(len(answers))
        entries = [entry(number) for number in range(1, len(answers) + 1)]

        class Doors:
            def power(self, each):
                return Control(each.number, all_asked, answers[each.number - 1])

        monkeypatch.setattr(Site, "doors", lambda self: Doors())
        return await power.look(Site(Settings(), entries, limit_s))

    return ask


async def test_all_are_asked_side_by_side(asked):
    (finding,) = await asked("on", "off", "on")
    assert (finding.health, finding.text) == (Health.OK, "that of nodes 1-3 answers; on: 1,3")


async def test_each_that_does_not_answer_is_named(asked):
    good, *wrong = await asked(
        CardError("no answer in 3 s to status"), "off", GatewayError("no ipmi")
    )
    assert good.text == "that of node 2 answers; on: none"
    assert [each.text for each in wrong] == [
        "fit01: power control reboot01: no answer in 3 s to status",
        "fit03: power control reboot03: no ipmi",
    ]
    assert all("rhubarbe-status" in each.advice for each in wrong)


async def test_one_that_goes_on_beyond_the_limit_hides_no_other(asked):
    good, wrong = await asked("on", SILENCE, limit_s=0.1)
    assert good.text == "that of node 1 answers; on: 1"
    assert wrong.text == "fit02: power control reboot02: no answer in 0.1 s"


async def test_a_keyring_that_waits_for_a_person_is_told(monkeypatch, asked):
    monkeypatch.setattr(power, "lacking_secrets", lambda entries: asyncio.Event().wait())
    with pytest.raises(TimeoutError, match="a program that tells a secret"):
        await asked("on", limit_s=0.1)


async def test_where_none_answers_nothing_is_well(asked):
    assert [each.health for each in await asked(CardError("x"))] == [Health.WRONG]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (CardRefused("lets nobody in by that"), "the user and the password"),
        (CardError("ends status with status 1: it refuses to be asked"), "is it plugged in"),
        (CardError("refuses status: it has no session left"), "is it plugged in"),
        (CardError("cannot be reached for status: Connection refused"), "is it plugged in"),
        (CardError("no answer in 3 s: it refuses so whom it does not know"), "is it plugged in"),
        (GatewayError("outlet: no such program on this gateway"), "mend that on this gateway"),
    ],
)
async def test_the_advice_is_about_what_was_said(asked, said, words):
    (finding,) = await asked(said)
    assert words in finding.advice
