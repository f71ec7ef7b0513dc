"""Power controls of any kind are asked side by side, and each that does not answer is named."""

import asyncio

import pytest
from absent import entry

from rhubarbe.config import Settings
from rhubarbe.doctor import power
from rhubarbe.doctor.site import Site
from rhubarbe.errors import CardError, GatewayError
from rhubarbe.events import Health
from rhubarbe.transports.power.base import PowerState


class Control:
    """A control that answers once all have been asked."""

    def __init__(self, number, all_asked, answer):
        self.name = f"reboot{number:02}"
        self._all_asked = all_asked
        self._answer = answer

    async def state(self):
        async with asyncio.timeout(30):
            await self._all_asked.wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return PowerState(self._answer)

    async def complaints(self):
        return [f"{self.name}: {self._answer}"]


@pytest.fixture
def asked(monkeypatch):
    """Ask controls that answer so; return the findings."""

    async def ask(*answers):
        all_asked = asyncio.Barrier(len(answers))
        entries = [entry(number) for number in range(1, len(answers) + 1)]

        class Doors:
            def power(self, each):
                return Control(each.number, all_asked, answers[each.number - 1])

        monkeypatch.setattr(Site, "doors", lambda self: Doors())
        return await power.look(Site(Settings(), entries, 5.0))

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


async def test_where_none_answers_nothing_is_well(asked):
    assert [each.health for each in await asked(CardError("x"))] == [Health.WRONG]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (CardError("refuses status with the password of operator"), "the user and the password"),
        (CardError("cannot be reached for status: Connection refused"), "is it plugged in"),
        (CardError("no answer in 3 s: it refuses so whom it does not know"), "is it plugged in"),
        (GatewayError("outlet: no such program on this gateway"), "mend that on this gateway"),
    ],
)
async def test_the_advice_is_about_what_was_said(asked, said, words):
    (finding,) = await asked(said)
    assert words in finding.advice
