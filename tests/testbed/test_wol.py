"""Machines that are woken by a packet, and switched off and restarted by what runs on them."""

import asyncio
import json
import socket

import pytest

from rhubarbe.annexe.errors import Misused
from rhubarbe.testbed.boot import MachineState
from rhubarbe.testbed.faults import parse
from rhubarbe.testbed.qemu_machines import QemuMachines


@pytest.fixture
async def machines(make_farm, site_of, watch):
    async with make_farm(power=["wol"]) as farm:
        yield site_of(farm)
    assert watch.processes_in(farm.directory) == []


def told(site, node):
    entries = json.loads((site.directory / "inventory.json").read_text())
    return next(each for each in entries if each["control"]["hostname"] == node)


def password(site):
    return bytes.fromhex((site.directory / "run" / "wol.password").read_text())


def packet(mac):
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16


def send(site, node, data):
    power = told(site, node)["power"]
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(data, (power["broadcast"], power["wake_port"]))


def state(site, node):
    return site.farm.machines[node].state


def orders(site):
    lines = (site.directory / "testbed.log").read_text().splitlines()
    return [" ".join(line.split()[1:]) for line in lines if " card " in line]


async def test_a_machine_is_woken_by_its_own_packet_only(machines, watch):
    for node in ("fit01", "fit02"):
        done = await machines.ssh(node, "poweroff")
        assert (done.exit_status, done.stdout, done.stderr) == (0, "", "")
    await watch.until(lambda: state(machines, "fit02") is MachineState.OFF)
    own, other = (told(machines, node)["control"]["mac"] for node in ("fit01", "fit02"))
    for wrong in (
        packet(other) + password(machines),
        packet(own),  # without what SecureOn wants
        packet(own) + b"secret",
        packet(own)[:-6] + password(machines),
        b"",
    ):
        send(machines, "fit01", wrong)
    for node, mac in (("fit02", other), ("fit01", own)):
        assert state(machines, "fit01") is MachineState.OFF
        for _ in range(3):
            send(machines, node, packet(mac) + password(machines))
        await watch.until(lambda node=node: state(machines, node) is MachineState.DISK)
    off_then_on = ["fit01 card off", "fit02 card off", "fit02 card on", "fit01 card on"]
    assert orders(machines) == off_then_on


async def test_a_system_restarts_its_own_machine(machines, watch):
    before = (await machines.ssh("fit01", "cat /proc/sys/kernel/random/boot_id")).stdout
    assert (await machines.ssh("fit01", "/sbin/reboot")).exit_status == 0
    await watch.until(lambda: orders(machines))
    async with asyncio.timeout(30):
        await machines.farm.machines["fit01"].settled.wait()
    assert (await machines.ssh("fit01", "cat /proc/sys/kernel/random/boot_id")).stdout != before
    assert orders(machines) == ["fit01 card reset"]


@pytest.mark.parametrize(
    ("typed", "order", "after"),
    [("poweroff -f", "off", MachineState.OFF), ("reboot -f", "reset", MachineState.DISK)],
)
async def test_a_ramdisk_switches_its_machine_once_who_typed_has_left(
    machines, watch, typed, order, after
):
    link = machines.link("fit01")
    await machines.ssh("fit01", "reboot")
    await watch.until(lambda: state(machines, "fit01") is MachineState.RAMDISK)
    said = await machines.type("fit01", "for each in poweroff reboot; do type $each; done; exit\n")
    for program in ("poweroff", "reboot"):  # of ours, and no other
        assert f"{program} is {machines.directory.resolve()}/ramdisk/bin/{program}" in said
    link.unlink()
    await machines.type("fit01", f"(sleep 0.2; {typed}) >/dev/null 2>&1 & exit\n")
    await watch.until(lambda: state(machines, "fit01") is after)
    assert orders(machines) == ["fit01 card reset", f"fit01 card {order}"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [("card-refuses", "reboot: Permission denied\n"), ("card-500", "reboot: Input/output error\n")],
)
async def test_a_system_that_does_not_do_it_says_why(make_farm, site_of, fault, said):
    async with make_farm(power=["wol"], faults=[parse(f"fit01:{fault}")]) as farm:
        done = await site_of(farm).ssh("fit01", "reboot")
        assert (done.exit_status, done.stderr) == (1, said)
        assert farm.machines["fit01"].state is MachineState.DISK


async def test_machines_that_have_a_control_are_not_switched_so(make_farm, site_of):
    async with make_farm(power=["cmc", "wol"]) as farm:
        done = await site_of(farm).ssh("fit01", "poweroff")
        assert (done.exit_status, done.stderr) == (127, "sh: poweroff: command not found\n")


async def test_where_it_cannot_be_it_is_refused(make_farm, tmp_path):
    for options, kind, why in (
        ({"ramdisk_shell": "ssh"}, None, "--power wol goes with --ramdisk-shell telnet"),
        ({"image": None}, QemuMachines(), "--power wol goes with emulated nodes and hosts only"),
    ):
        farm = make_farm(power=["wol"], **options)
        farm.kind = kind or farm.kind
        with pytest.raises(Misused, match=why):
            async with farm:
                pass
