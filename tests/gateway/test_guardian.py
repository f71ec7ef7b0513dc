"""Whoever ends without saying goodbye leaves no link and no child; who says it is left alone."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rhubarbe.gateway.processes import guardian_program
from rhubarbe.gateway.processes.guardian import Guardian

COMMAND = """
import asyncio, os, sys
from pathlib import Path
from rhubarbe.gateway.processes.guardian import Guardian

async def main():
    link = Path(sys.argv[1])
    async with Guardian() as guardian:
        with guardian.guarding_link(link, "target"):
            link.symlink_to("target")
            child = await asyncio.create_subprocess_exec(
                "sh", "-c", sys.argv[2] + " exec sleep 60", start_new_session=True
            )
            with guardian.guarding_child(child.pid):
                print(child.pid, guardian._process.pid, flush=True)
                await asyncio.sleep(60)

asyncio.run(main())
"""


def gone(pid, within=10.0):
    limit = time.monotonic() + within
    while guardian_program.start_of(str(pid)) and time.monotonic() < limit:
        time.sleep(0.01)
    return not guardian_program.start_of(str(pid))


def removed(link, within=10.0):
    limit = time.monotonic() + within
    while link.is_symlink() and time.monotonic() < limit:
        time.sleep(0.01)
    return not link.is_symlink()


def start(link, trap=""):
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, link, trap], stdout=subprocess.PIPE, text=True
    )
    child, guardian = map(int, process.stdout.readline().split())
    return process, child, guardian


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
def test_a_killed_command_leaves_no_link_and_no_child(tmp_path, trap):
    link = tmp_path / "01-aa"
    process, child, guardian = start(link, trap)
    with process:
        assert link.is_symlink()
        process.kill()
        process.wait()
        assert gone(guardian)
    assert removed(link)  # by a process of its own, which may end after the guardian
    assert gone(child)


def test_a_link_to_something_else_is_not_ours(tmp_path):
    link = tmp_path / "01-aa"
    process, child, guardian = start(link)
    with process:
        link.unlink()
        link.symlink_to("another")
        process.kill()
        assert gone(guardian)
    assert link.readlink() == Path("another")
    assert gone(child)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_what_ends_the_command_does_not_end_the_guardian(tmp_path, number):
    link = tmp_path / "01-aa"
    process, child, guardian = start(link)
    with process:
        os.kill(guardian, number)
        process.kill()
        assert gone(guardian)
    assert removed(link)
    assert gone(child)


async def test_a_guardian_that_dies_is_replaced(tmp_path):
    link = tmp_path / "01-aa"
    link.symlink_to("target")
    async with Guardian() as guardian:
        watch = asyncio.get_running_loop().create_task(guardian.watch())
        with guardian.guarding_link(link, "target"):
            first = guardian._process
            first.kill()
            async with asyncio.timeout(5):
                while guardian._process is first:  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.01)
            # The new one knows the link: it removes it when its input ends without a goodbye.
            second = guardian._process
            watch.cancel()
            os.dup2(os.open("/dev/null", os.O_WRONLY), guardian._pipe)
            async with asyncio.timeout(5):
                await second.wait()
            assert removed(link)


async def test_goodbye_leaves_everything_alone(tmp_path):
    link = tmp_path / "01-aa"
    link.symlink_to("target")
    child = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        guardian = Guardian()
        async with guardian:
            guardian._tell("link", str(link), "target")
            guardian._tell("child", str(child.pid), guardian_program.start_of(str(child.pid)))
        assert guardian._process.returncode == 0
        assert link.is_symlink()
        assert child.returncode is None
    finally:
        child.kill()
        await child.wait()


def test_another_process_with_the_same_number_is_left_alone():
    with subprocess.Popen(["sleep", "60"]) as process:
        program = [sys.executable, "-I", "-S", guardian_program.__file__]
        record = f"child\0{process.pid}\0{'12345'}\0".encode()
        subprocess.run(program, input=record, check=True, timeout=50)
        assert process.poll() is None
        process.kill()


def test_a_child_that_it_was_not_told_of_is_found_by_its_mark(tmp_path):
    """A command that dies between starting a child and telling of it leaves none either."""
    command = """
import asyncio, os
from rhubarbe.gateway.processes.guardian import Guardian

async def main():
    async with Guardian() as guardian:
        child = await asyncio.create_subprocess_exec(
            "sleep", "60", env=os.environ | guardian.environ, start_new_session=True
        )
        print(child.pid, guardian._process.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    with (
        subprocess.Popen(["sleep", "60"]) as bystander,
        subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True) as us,
    ):
        child, guardian = map(int, us.stdout.readline().split())
        us.kill()
        assert gone(guardian)
        assert gone(child)
        assert bystander.poll() is None
        bystander.kill()
