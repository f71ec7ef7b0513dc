"""A machine that is told by Redfish to boot from the network once, by vendors' controllers."""

import asyncio
import contextlib

import pytest
from vendor import BESIDE, PASSWORD, SYSTEM, USER, Vendor, complaint, context_of, serving

from rhubarbe.config import Settings
from rhubarbe.config.secrets import Secret
from rhubarbe.config.settings import NodesSettings
from rhubarbe.errors import CardError
from rhubarbe.inventory import Driver, Entry, Interface
from rhubarbe.node.next_boot import NextBoot
from rhubarbe.testbed import certificates
from rhubarbe.transports.netboot import NETBOOTS, netboot_of
from rhubarbe.transports.netboot.redfish import Redfish
from rhubarbe.transports.redfish.values import RedfishValues

IP, MAC = "127.0.0.1", "02:00:00:00:00:01"
SETTINGS = Settings(nodes=NodesSettings(cmc_default_timeout=10))
ONCE = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}
ENDED = {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}


@pytest.fixture(scope="module")
def reach(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    certificates.write(directory / "ca.pem", directory / "served.pem", [IP])
    context = context_of(directory / "served.pem")

    @contextlib.asynccontextmanager
    async def reach(vendor, **said):
        said = {"user": USER, "password": Secret(PASSWORD), "ca": directory / "ca.pem"} | said
        async with asyncio.timeout(60), serving(vendor, context) as port:
            yield Redfish(RedfishValues(address=IP, port=port, **said), MAC, SETTINGS)

    return reach


async def test_the_override_is_held_for_as_long_as_a_link_would_be(reach):
    vendor = Vendor()
    async with reach(vendor) as netboot:
        async with NextBoot(netboot).linked():
            assert vendor.boot == ONCE
        assert vendor.boot == ENDED
        with contextlib.suppress(ZeroDivisionError):
            async with NextBoot(netboot).linked(stays=True):
                assert vendor.boot == ONCE
                raise ZeroDivisionError
        assert vendor.boot == ENDED
        async with NextBoot(netboot).linked(stays=True):
            pass
        assert vendor.boot == ONCE
    assert vendor.tokens == {}


async def test_what_the_machine_has_used_is_not_ended_again(reach):
    vendor = Vendor()
    async with reach(vendor) as netboot:
        async with NextBoot(netboot).linked():
            vendor.boot = {
                "BootSourceOverrideEnabled": "Disabled",
                "BootSourceOverrideMode": "UEFI",
            }
        assert [each for each in vendor.heard if each[0] == "PATCH"] == [("PATCH", SYSTEM)]


async def test_what_somebody_else_has_asked_for_meanwhile_stays(reach):
    vendor = Vendor()
    async with reach(vendor) as netboot:
        async with NextBoot(netboot).linked():
            vendor.boot["BootSourceOverrideTarget"] = "Cd"
        assert vendor.boot["BootSourceOverrideTarget"] == "Cd"


async def test_an_object_beside_the_system_is_the_one_that_is_told(reach):
    link = {"@Redfish.Settings": {"SettingsObject": {"@odata.id": BESIDE}}}
    vendor = Vendor(system=link, beside=dict(ENDED))
    async with reach(vendor) as netboot:
        async with NextBoot(netboot).linked():
            assert vendor.beside == ONCE
        assert vendor.beside == ENDED
    vendor = Vendor(system=link).answers("GET", BESIDE, (200, {"Attributes": {}}), (404, None))
    async with reach(vendor) as netboot, NextBoot(netboot).linked():
        assert vendor.boot == ONCE
    assert vendor.boot == ENDED


@pytest.mark.parametrize("mode", ["UEFI", "Legacy"])
async def test_the_mode_is_said_where_it_is_to_be(reach, mode):
    vendor = Vendor()
    async with reach(vendor, boot_mode=mode) as netboot:
        await netboot.begin()
        assert vendor.boot == ONCE | {"BootSourceOverrideMode": mode}
        await netboot.end()
        assert vendor.boot == ENDED | {"BootSourceOverrideMode": mode}


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ('"1682532272"', '"1682532272"'),
        ('W/"1682532272"', 'W/"1682532272"'),
        ('W/"1682532272"', '"1682532272"'),
        ('""1682532272""', '"1682532272"'),
        ("1682532272", '"1682532272"'),
        ('"1682532272"', None),
    ],
)
async def test_a_state_that_has_to_be_named_is(reach, shown, wanted):
    for where in ("header", "object"):
        vendor = Vendor(etag=(shown, wanted))
        if where == "object":
            vendor.etag, vendor.system = ("", wanted), {"@odata.etag": shown}
        async with reach(vendor) as netboot:
            await netboot.begin()
            assert vendor.boot == ONCE


async def test_one_that_takes_no_state_of_any_name_is_told(reach):
    async with reach(Vendor(etag=('"1"', "another"))) as netboot:
        with pytest.raises(
            CardError, match=r"answers boot override with HTTP status 4(12|28): The"
        ):
            await netboot.begin()


async def test_one_that_does_not_take_it_is_told_and_nothing_is_left(reach):
    words = "The property BootSourceOverrideMode is a read only property."
    vendor = Vendor().answers("PATCH", SYSTEM, (400, complaint(words)))
    async with reach(vendor) as netboot:
        with pytest.raises(CardError, match=f"power card {IP} answers boot override .* {words}"):
            await NextBoot(netboot).set()
    assert vendor.boot == ENDED
    assert vendor.tokens == {}


async def test_who_is_cancelled_takes_it_back(reach):
    vendor, entered = Vendor(), asyncio.Event()

    async def hold(netboot):
        async with NextBoot(netboot).linked():
            entered.set()
            await asyncio.Event().wait()

    async with reach(vendor) as netboot, asyncio.TaskGroup() as group:
        holding = group.create_task(hold(netboot))
        await entered.wait()
        assert vendor.boot == ONCE
        holding.cancel()
    assert vendor.boot == ENDED


def entry(power, netboot):
    control = Interface("fit01", "192.0.2.1", MAC)
    return Entry(1, control, None, None, power=(power,), netboot=netboot)


def test_it_knows_what_the_power_control_does():
    power = Driver("redfish", {"address": "192.0.2.9", "user": "root", "password": "x"})
    own = Driver("redfish", {"boot_mode": "UEFI", "user": "boot"})
    both = entry(power, own).netboot_driver("pxelinux")
    assert both.said == {**power.said, **own.said}
    assert list(NETBOOTS.faults(both)) == []
    usual = entry(power, None).netboot_driver("redfish")
    assert usual == power
    assert netboot_of(entry(power, own), SETTINGS).links == ()
    assert entry(power, None).netboot_driver("pxelinux") == Driver("pxelinux", {})
    alone = entry(Driver("cmc", {"address": "192.0.2.9"}), own).netboot_driver("pxelinux")
    assert [fault.partition(":")[0] for fault in NETBOOTS.faults(alone)] == [
        "netboot.address",
        "netboot.password",
    ]
