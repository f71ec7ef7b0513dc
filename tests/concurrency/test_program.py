"""Programs that run to their end: what they are told, what they say, and that nothing is left."""

import asyncio
import os
from pathlib import Path

import pytest

from rhubarbe.concurrency.program import MOST_TYPED, Ended, Flood, run_program
from rhubarbe.node.tries import happens


def sh(script, *words):
    return ["sh", "-c", script, "sh", *words]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_it_is_told_and_what_it_says():
    ended = await run_program(
        sh('cat; echo "$1"; echo oh >&2; exit 3', "a b"), most=99, typed=b"in "
    )
    assert ended == Ended(3, b"in a b\n", b"oh\n")
    assert (await run_program(sh("kill -9 $$"), most=9)).status == -9
    assert (await run_program(["cat"], most=MOST_TYPED, typed=b"x" * MOST_TYPED)).status == 0


async def test_its_environment_and_descriptors():
    number = os.memfd_create("any")
    with os.fdopen(number):
        ended = await run_program(
            ["/bin/sh", "-c", f"echo $NAME; ls /proc/self/fd | grep -x {number}"],
            most=99,
            environ={"NAME": "ada", "PATH": os.defpath},
            pass_fds=[number],
        )
    assert ended.output == f"ada\n{number}\n".encode()


@pytest.mark.parametrize("script", ["exec yes", "exec yes >&2"])
async def test_a_flood_is_an_error(script):
    async with asyncio.timeout(20):
        with pytest.raises(Flood, match="writes more than 1000 bytes"):
            await run_program(sh(script), most=1000)
    with pytest.raises(Flood):
        await run_program(["cat"], most=9, typed=b"x" * (MOST_TYPED + 1))


async def test_one_that_there_is_not():
    with pytest.raises(FileNotFoundError):
        await run_program(["/nonexistent/program"], most=9)


@pytest.mark.parametrize("moment", range(12))
async def test_whenever_it_is_given_up_nothing_is_left(tmp_path, moment):
    """Also where it is given up before it says anything, or while it starts others."""
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; cat; wait"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(moment * 0.004 or 0.2):
            await run_program(sh(script), most=9)

    async def is_gone():
        return not pids.exists() or not any(map(is_running, pids.read_text().split()))

    assert await happens(is_gone, 10, 0.01)


async def test_one_that_closes_its_output_is_waited_for_within_limits(tmp_path):
    script = f"echo $$ > {tmp_path}/pid; exec >&- 2>&- sleep 600"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await run_program(sh(script), most=9)

    async def is_gone():
        return not is_running((tmp_path / "pid").read_text().strip())

    assert await happens(is_gone, 10, 0.01)
