"""A secret that lacks is said before anything is touched, and is no node's fault."""

from datetime import UTC, datetime

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.node import secrets
from rhubarbe.operations.load import LoadRequest, load
from rhubarbe.operations.power import PowerRequest, power
from rhubarbe.operations.rescue import RescueRequest, rescue
from rhubarbe.operations.save import SaveRequest, save


@pytest.fixture(autouse=True)
def _lacks(monkeypatch):
    async def lacking(entries):
        return [f"{entry.name}: power.password: no secret: $PDU is not set" for entry in entries]

    monkeypatch.setattr(secrets, "lacking_secrets", lacking)


def work_of(verb, testbed):
    ways = (testbed.settings, testbed.bus, testbed.doors)
    entries = testbed.entries
    if verb == "load":
        request = LoadRequest(image=testbed.image, entries=entries, limit=60.0, bandwidth_mibps=100)
        return load(request, *ways)
    if verb == "save":
        request = SaveRequest(
            entry=entries[0],
            image=testbed.directory / "new.ndz",
            author="ada",
            comment="",
            now=datetime(2026, 11, 25, tzinfo=UTC),
            limit=60.0,
        )
        return save(request, *ways)
    if verb == "rescue":
        return rescue(RescueRequest(entries=entries, limit=60.0), *ways)
    return power(PowerRequest(verb=verb, entries=entries), *ways)


@pytest.mark.parametrize("verb", ["load", "save", "rescue", "on", "off", "reset", "bye"])
async def test_it_is_said_before_anything_is_touched(testbed, verb):
    with pytest.raises(GatewayError) as caught:
        await work_of(verb, testbed)
    assert str(caught.value).startswith("fit01: power.password: no secret: $PDU is not set")
    assert str(caught.value).endswith(": nothing was touched")
    assert not any(node.orders or node.commands for node in testbed.nodes)
    assert testbed.links() == []
    assert testbed.noted(verb) == {}
    await testbed.require_all_given_back()


async def test_who_only_asks_is_answered_by_the_others(testbed):
    await work_of("status", testbed)
    assert testbed.finished.good == "1-3"
