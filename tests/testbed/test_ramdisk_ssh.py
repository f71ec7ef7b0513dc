"""The ramdisk's shell by ssh: the same sessions, which end with the machine."""

import asyncio
from pathlib import Path

import asyncssh
import pytest


@pytest.fixture
async def ramdisk(make_farm, site_of):
    async with make_farm(ramdisk_shell="ssh") as farm:
        site = site_of(farm)
        await site.into_ramdisk("fit01")
        yield site


def connect(site, **options):
    hardware = site.hardware("fit01")
    options.setdefault("client_keys", [str(site.directory / "id_ed25519")])
    return asyncssh.connect(
        hardware.address,
        hardware.ports.ssh,
        username="root",
        known_hosts=None,
        config=None,
        **options,
    )


async def test_a_session_runs_commands_on_a_terminal_and_ends_with_exit(ramdisk):
    async with asyncio.timeout(10), connect(ramdisk) as connection:
        process = await connection.create_process(term_type="dumb", term_size=(1000, 50))
        process.stdin.write("echo; pwd; cat /proc/mounts; echo sta'tus'=$?; exit\n")
        said = await process.stdout.read()
    lines = said.replace("\r", "").splitlines()
    assert str(ramdisk.directory / "nodes" / "fit01") in lines, said
    assert "rootfs / rootfs rw 0 0" in lines
    assert "status=0" in lines


async def test_only_the_key_of_the_testbed_is_let_in(ramdisk):
    key = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        async with asyncio.timeout(10), connect(ramdisk, client_keys=[key]):
            raise AssertionError("let in")


async def test_telnet_is_not_offered(ramdisk):
    hardware = ramdisk.hardware("fit01")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(hardware.address, hardware.ports.telnet)


async def test_it_has_a_shell_only(ramdisk):
    async with asyncio.timeout(10), connect(ramdisk) as connection:
        answer = await connection.run("true")
    assert answer.exit_status == 127


@pytest.mark.parametrize("way", ["reset", "leave"])
async def test_what_runs_ends_with_the_session(ramdisk, watch, way):
    home = Path(ramdisk.directory) / "nodes" / "fit01"
    connection = await connect(ramdisk)
    async with asyncio.timeout(20):
        process = await connection.create_process(term_type="dumb")
        process.stdin.write("sleep 600 & sleep 601\n")
        await watch.until(lambda: len(watch.processes_in(home)) > 1)
        if way == "reset":
            await ramdisk.press("fit01", "reset")
        else:
            connection.abort()
        await watch.until(lambda: not watch.processes_in(home))
