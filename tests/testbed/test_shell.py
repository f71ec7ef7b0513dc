"""The telnet shell: real processes on a real terminal, which end with the session."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from rhubarbe.testbed.faults import parse


@pytest.fixture
async def ramdisk(site):
    await site.into_ramdisk("fit01")
    return site


def home(site, node="fit01"):
    return site.directory / "nodes" / node


async def test_a_session_runs_commands_and_ends_with_exit(ramdisk):
    said = await ramdisk.type(
        "fit01", "echo; pwd; echo sta'tus'=$?; (exit 3); echo then=$?; exit\n"
    )
    lines = said.replace("\r", "").splitlines()
    assert str(home(ramdisk)) in lines
    assert "status=0" in lines
    assert "then=3" in lines


async def test_a_session_ends_with_control_d(ramdisk):
    assert "fit01# " in await ramdisk.type("fit01", "\x04")


async def test_what_is_typed_means_what_it_says(ramdisk):
    said = await ramdisk.type("fit01", "echo 'a!b' \"$HOME\" é; exit\r\n")
    assert f"a!b {home(ramdisk)} é" in said


async def test_a_long_line_is_not_folded(ramdisk):
    word = "x" * 900
    assert f"\n{word}\r\n" in await ramdisk.type("fit01", f"echo; echo {word}; exit\n")


async def test_a_stream_of_output_arrives_whole(ramdisk):
    said = await ramdisk.type("fit01", "echo; for n in {1..20000}; do echo line$n; done; exit\n")
    lines = said.replace("\r", "").splitlines()
    wanted = [f"line{n}" for n in range(1, 20001)]
    assert [line for line in lines if line.startswith("line")] == wanted


async def test_output_comes_before_the_line_ends(ramdisk):
    reader, writer = await ramdisk.telnet("fit01")
    writer.write("printf '%s%s' be fore; read line; echo after-$line; exit\n")
    said = ""
    async with asyncio.timeout(10):
        while "before" not in said:
            said += await reader.read(100)
        writer.write("wards\n")
        while piece := await reader.read(100):
            said += piece
    assert "after-wards" in said
    writer.close()


async def test_nothing_of_the_host_is_in_the_environment(ramdisk):
    said = await ramdisk.type("fit01", "echo; export -p; exit\n")
    exported = {
        line.split()[2].partition("=")[0] for line in said.splitlines() if "declare" in line
    }
    assert {"NODE", "NODE_IP", "PATH"} <= exported
    assert exported <= {
        *("NODE", "NODE_IP", "NODE_DIR", "NODE_DISK", "PATH", "HOME", "TMPDIR", "TERM", "LANG"),
        *("PWD", "OLDPWD", "SHLVL"),
    }


@pytest.mark.parametrize(
    "command", ["sleep 600", "sleep 600 & sleep 601", "(trap '' HUP TERM; sleep 600; sleep 601)"]
)
async def test_a_reset_ends_all_that_runs(ramdisk, watch, command):
    _, writer = await ramdisk.telnet("fit01")
    writer.write(f"{command}\n")
    await watch.until(lambda: len(watch.processes_in(home(ramdisk))) > 1)
    await ramdisk.press("fit01", "reset")
    await watch.until(lambda: not watch.processes_in(home(ramdisk)))
    writer.close()


async def test_a_reset_breaks_the_connection(ramdisk, watch):
    reader, writer = await ramdisk.telnet("fit01")
    await reader.readuntil(b"# ")
    await ramdisk.press("fit01", "reset")
    with contextlib.suppress(ConnectionError):
        await watch.rest(reader)
    writer.close()


@pytest.mark.parametrize("command", ["sleep 600", "sleep 600 & sleep 601"])
async def test_a_client_that_leaves_takes_its_processes_along(ramdisk, watch, command):
    _, writer = await ramdisk.telnet("fit01")
    writer.write(f"{command}\n")
    await watch.until(lambda: len(watch.processes_in(home(ramdisk))) > 1)
    writer.close()
    await watch.until(lambda: not watch.processes_in(home(ramdisk)))


async def test_a_job_in_the_background_goes_on_until_power_is_lost(ramdisk, watch):
    await ramdisk.type("fit01", "(sleep 0.5; : >later; sleep 600) & exit\n")
    await watch.until((home(ramdisk) / "later").exists)
    assert watch.processes_in(home(ramdisk))
    await ramdisk.press("fit01", "reset")
    await watch.until(lambda: not watch.processes_in(home(ramdisk)))


async def test_a_job_in_the_background_ends_with_the_testbed(make_farm, site_of, watch):
    async with make_farm() as farm:
        site = site_of(farm)
        await site.into_ramdisk("fit01")
        await site.type("fit01", "sleep 600 & exit\n")
        assert watch.processes_in(home(site))
    assert not watch.processes_in(home(site))


async def test_two_sessions_at_once(ramdisk):
    first = ramdisk.type("fit01", "sleep 0.2; echo fir'st'; exit\n")
    second = ramdisk.type("fit01", "echo sec'ond'; exit\n")
    told = await asyncio.gather(first, second)
    assert "first" in told[0]
    assert "second" in told[1]


async def test_a_client_without_telnet_options_gets_its_shell(ramdisk):
    hardware = ramdisk.hardware("fit01")
    reader, writer = await asyncio.open_connection(hardware.address, hardware.ports.telnet)
    writer.write(b"echo pla'in'; exit\n")
    async with asyncio.timeout(10):
        assert b"plain" in await reader.read(-1)
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_reads_nothing_holds_its_commands_back(ramdisk, watch):
    _, writer = await ramdisk.telnet("fit01")
    writer.transport.pause_reading()
    writer.write(": > begun; printf %100000000s; : > done; exit\n")
    await watch.until((home(ramdisk) / "begun").exists)
    (shell,) = watch.processes_in(home(ramdisk))
    looks = []
    await watch.until(lambda: stands_still(shell, looks))
    assert not (home(ramdisk) / "done").exists()
    writer.transport.abort()
    await watch.until(lambda: not watch.processes_in(home(ramdisk)))


def stands_still(process, looks):
    """Whether a process has slept since long, as `looks` tell, to which this adds one."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    state, used = fields[0], fields[11:13]
    if state != "S" or [used] != looks[:1]:
        looks[:] = [used, time.monotonic()]
    return time.monotonic() - looks[1] > 0.5


async def test_a_session_drops_in_the_middle_of_an_image(make_farm, site_of, watch):
    async with make_farm(faults=[parse("fit01:telnet-drops*1")]) as farm:
        site = site_of(farm)
        await site.into_ramdisk("fit01")
        dots = "echo; for n in 1 2 3 4 5 6; do printf .; sleep 0.02; done; echo e'nd'; exit\n"
        reader, writer = await site.telnet("fit01")
        writer.write(dots)
        said = ""
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                while piece := await reader.read(100):
                    said += piece
                raise ConnectionResetError  # a close without a reset is a cut too
        assert "end" not in said
        writer.close()
        assert "end" in await site.type("fit01", dots)
        await watch.until(lambda: not watch.processes_in(home(site)))


async def test_a_shell_that_cannot_start_is_told(ramdisk):
    home(ramdisk).rename(ramdisk.directory / "elsewhere")
    assert await ramdisk.type("fit01", "") == "no shell: No such file or directory\r\n"
    (ramdisk.directory / "elsewhere").rename(home(ramdisk))
    assert "fit01# " in await ramdisk.type("fit01", "exit\n")
