"""Machines over real sockets: power, boot order, what answers when."""

import asyncio
import os
import re
import socket

import asyncssh
import pytest

REFUSED = re.compile("refused|failed")
STAMP = "an emulated node - image old - by rhubarbe-testbed\n"


async def test_a_testbed_serves_with_every_node_up_on_its_old_system(site):
    for node in ("fit01", "fit02"):
        assert await site.card(node, "status") == (200, "on\n")
        answer = await site.ssh(node, "cat /etc/rhubarbe-image")
        assert (answer.exit_status, answer.stdout) == (0, STAMP)


async def test_a_power_cycle(site):
    first = await site.ssh("fit01", "cat /proc/sys/kernel/random/boot_id")
    await site.press("fit01", "off")
    assert await site.card("fit01", "status") == (200, "off\n")
    with pytest.raises(OSError, match=REFUSED):
        await site.ssh("fit01", "true")
    await site.press("fit01", "reset")  # only wakes what is on
    assert await site.card("fit01", "status") == (200, "off\n")
    await site.press("fit01", "on")
    second = await site.ssh("fit01", "cat /proc/sys/kernel/random/boot_id")
    assert first.stdout != second.stdout
    assert (await site.ssh("fit02", "true")).exit_status == 0


async def test_a_reset_closes_the_connections_of_the_system(site):
    hardware = site.hardware("fit01")
    connection = await asyncssh.connect(
        hardware.address,
        hardware.ports.ssh,
        username="anybody",
        known_hosts=None,
        config=None,
        client_keys=[str(site.directory / "id_ed25519")],
    )
    await site.press("fit01", "reset")
    async with asyncio.timeout(10):
        await connection.wait_closed()


async def test_a_stranger_is_refused(site):
    key = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await site.ssh("fit01", "true", client_keys=[key])


async def test_the_keys_are_those_on_the_disk(site):
    disk = site.hardware("fit01").disk.path
    content = disk.read_bytes()
    where = content.index(b"ssh-ed25519 AAAA")
    with disk.open("r+b") as file:
        file.seek(where)
        file.write(b"#")
    with pytest.raises(asyncssh.PermissionDenied):
        await site.ssh("fit01", "true")


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("hostname", 0, "old\n"),
        ("ls /etc", 0, "hostname\nos-release\nrhubarbe-image\n"),
        ("cat /etc/hostname /etc/nothing", 1, "cat: /etc/nothing: No such file or directory\n"),
        ("ls /nothing", 2, "ls: cannot access '/nothing': No such file or directory\n"),
        ("uname", 0, "Linux\n"),
        ("echo 'a  b'", 0, "a  b\n"),
        ("false", 1, ""),
        ("reboot", 127, "sh: reboot: command not found\n"),
        ("echo 'open", 2, "sh: No closing quotation\n"),
    ],
)
async def test_commands_of_the_system(site, command, status, words):
    answer = await site.ssh("fit01", command)
    assert answer.exit_status == status
    assert (answer.stdout + answer.stderr).endswith(words)


async def test_a_link_leads_to_the_ramdisk_and_without_it_the_disk_boots(site):
    await site.into_ramdisk("fit01")
    assert "fit01# " in await site.type("fit01", "exit\n")
    with pytest.raises(OSError, match=REFUSED):
        await site.ssh("fit01", "true")
    await site.press("fit01", "reset")
    with pytest.raises(OSError, match=REFUSED):
        await site.telnet("fit01")
    assert (await site.ssh("fit01", "true")).exit_status == 0


@pytest.mark.parametrize("target", ["gone", "/etc/hostname"])
async def test_a_link_that_leads_nowhere_is_passed_over(site, target):
    site.link("fit01", target)
    await site.press("fit01", "reset")
    assert (await site.ssh("fit01", "true")).exit_status == 0


async def test_a_half_written_disk_does_not_boot_but_the_card_says_on(site):
    disk = site.hardware("fit01").disk.path
    with disk.open("r+b") as file:
        file.seek(1 << 20)
        file.write(os.urandom(2 << 20))
    await site.press("fit01", "reset")
    assert await site.card("fit01", "status") == (200, "on\n")
    for meet in (site.telnet, lambda node: site.ssh(node, "true")):
        with pytest.raises(OSError, match=REFUSED):
            await meet("fit01")


async def test_resets_in_a_row_boot_once(site):
    for _ in range(5):
        await site.card("fit01", "reset")
    await site.press("fit01", "reset")
    booted = [line for line in log(site) if line.endswith("fit01 boots disk")]
    assert len(booted) == 2  # at the start, and after the last reset
    assert (await site.ssh("fit01", "true")).exit_status == 0


def log(site):
    return (site.directory / "testbed.log").read_text().splitlines()


async def test_the_log_says_what_was_touched(site):
    await site.into_ramdisk("fit02")
    told = [line.split(" ", 1)[1] for line in log(site)]
    assert told[-2:] == ["fit02 card reset", "fit02 boots ramdisk"]
    assert not any(line.startswith("fit01 card") for line in told)


async def test_a_machine_that_cannot_serve_takes_no_other_along(site):
    hardware = site.hardware("fit01")
    link = site.link("fit01")
    with socket.create_server((hardware.address, hardware.ports.telnet)):
        await site.press("fit01", "reset")
    assert "fit01 cannot serve" in log(site)[-2]
    assert log(site)[-1].endswith("fit01 boots nothing")
    assert (await site.ssh("fit02", "true")).exit_status == 0
    await site.press("fit01", "reset")
    link.unlink()
    assert "fit01# " in await site.type("fit01", "exit\n")
