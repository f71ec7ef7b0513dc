"""One command at a time on a node; who is refused learns by whom; a dead holder holds nothing."""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
import time

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.state.locks import hold
from rhubarbe.shared.claims import make_claim
from rhubarbe.shared.state import StateDirectory

HOLDER = """
import asyncio, sys
from pathlib import Path
from rhubarbe.gateway.state.locks import hold

async def main():
    async with hold(Path(sys.argv[1]), "load", sys.argv[2:], 0) as locks:
        locks.tell("42 % of the image")
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def start_holder(state, *nodes):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, state, *nodes], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


async def test_a_held_node_is_refused_and_the_holder_named(tmp_path):
    with start_holder(tmp_path, "fit01", "fit02") as process:
        with pytest.raises(GatewayError) as error:
            async with hold(tmp_path, "save", ["fit02", "fit03"], 0):
                pytest.fail("held twice")
        assert "fit02 is taken by" in str(error.value)
        assert f"load (pid {process.pid}, since" in str(error.value)
        assert "), 42 % of the image: nothing was touched" in str(error.value)
        async with hold(tmp_path, "save", ["fit03"], 0):
            pass
        process.kill()


async def test_a_dead_holder_holds_nothing(tmp_path):
    with start_holder(tmp_path, "fit01") as process:
        process.kill()
    async with hold(tmp_path, "save", ["fit01"], 0):
        pass


async def test_none_is_taken_where_not_all_can_be(tmp_path):
    with start_holder(tmp_path, "fit02") as process:
        with pytest.raises(GatewayError):
            async with hold(tmp_path, "save", ["fit01", "fit02"], 0):
                pytest.fail("held twice")
        async with hold(tmp_path, "save", ["fit01"], 0):
            pass
        process.kill()


async def test_patience_waits_for_the_holder(tmp_path):
    with start_holder(tmp_path, "fit01") as process:
        asyncio.get_running_loop().call_later(0.3, process.kill)
        started = time.monotonic()
        async with asyncio.timeout(10), hold(tmp_path, "save", ["fit01"], 8):
            assert time.monotonic() - started > 0.2


SQUATTER = """
import socket, sys, time
claim = socket.socket(socket.AF_UNIX)
claim.bind(bytes.fromhex(sys.argv[1]))
if sys.argv[2] != "deaf":
    claim.listen()
print("squats", flush=True)
if sys.argv[2] == "speaks":
    asker, _ = claim.accept()
    asker.sendall(bytes.fromhex(sys.argv[3]) * 5)
time.sleep(60)
"""


@pytest.fixture
def squat(tmp_path):
    """Let another user, where that can be, take the name of a node's lock."""
    running = []

    def begin(manner, words=b""):
        with make_claim(StateDirectory(tmp_path).key(), "node/fit01") as ours:
            name = ours.getsockname().hex()
        other = [] if os.getuid() else ["setpriv", "--reuid=4001", "--regid=4001", "--clear-groups"]
        process = subprocess.Popen(
            [*other, "/usr/bin/python3", "-I", "-c", SQUATTER, name, manner, words.hex()],
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        running.append(process)
        assert process.stdout.readline() == "squats\n"
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


SQUATTER_NAME = "uid 4001" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    "words",
    [
        b"\x1b[2Jload\n1\n\x1b]0;title\x07",
        b"load\n1e999\n" + b"x" * 20_000,
        b"load\nnan\n",
        b"load\n-1e300\n\xff\xfe",
        b"[" * 20_000,
        b"\n\n\n\n",
        b"\0" * 2000,
    ],
)
async def test_whatever_a_holder_says_its_user_is_told_for_certain(tmp_path, squat, words):
    process = squat("speaks", words)
    with pytest.raises(GatewayError) as error:
        async with asyncio.timeout(10), hold(tmp_path, "save", ["fit01"], 0):
            pytest.fail("held twice")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600
    assert f"fit01 is taken by {SQUATTER_NAME}'s " in str(error.value)
    assert f"(pid {process.pid}" in str(error.value)


async def test_a_holder_that_says_nothing_is_named_by_the_kernel(tmp_path, squat):
    process = squat("silent")
    with pytest.raises(GatewayError) as error:
        async with asyncio.timeout(10), hold(tmp_path, "save", ["fit01"], 0):
            pytest.fail("held twice")
    assert f"{SQUATTER_NAME}'s python3" in str(error.value)
    assert f"(pid {process.pid}), which does not answer" in str(error.value)


async def test_a_holder_that_nobody_can_ask_is_a_refusal_too(tmp_path, squat):
    squat("deaf")
    with pytest.raises(GatewayError, match="fit01 is taken by another command"):
        async with asyncio.timeout(10), hold(tmp_path, "save", ["fit01"], 0):
            pytest.fail("held twice")


async def test_a_holder_that_is_stopped_is_named(tmp_path):
    with start_holder(tmp_path, "fit01") as process:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(GatewayError, match=rf"pid {process.pid}.*does not answer"):
            async with asyncio.timeout(10), hold(tmp_path, "save", ["fit01"], 0):
                pytest.fail("held twice")
        process.kill()


async def test_who_asks_and_goes_away_does_not_disturb_the_holder(tmp_path):
    async with hold(tmp_path, "load", ["fit01"], 0):
        with make_claim(StateDirectory(tmp_path).key(), "node/fit02") as other:
            address = other.getsockname().replace(b"fit02", b"fit01")
        for _ in range(300):
            with socket.socket(socket.AF_UNIX) as asker:
                asker.settimeout(0)
                try:
                    asker.connect(address)
                except BlockingIOError:
                    await asyncio.sleep(0)
        with pytest.raises(GatewayError, match="fit01 is taken by"):
            async with asyncio.timeout(10), hold(tmp_path, "save", ["fit01"], 0):
                pytest.fail("held twice")


async def test_names_of_any_length_can_be_locked(tmp_path):
    long = "n" * 250
    async with hold(tmp_path, "load", [long, long + "2"], 0):
        with pytest.raises(GatewayError, match="is taken by"):
            async with hold(tmp_path, "save", [long], 0):
                pytest.fail("held twice")


async def test_a_state_directory_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewayError, match="state_dir"):
        async with hold(tmp_path / "file" / "state", "load", ["fit01"], 0):
            pytest.fail("held nowhere")


def test_who_we_are_is_known_without_a_terminal_and_whatever_the_environment_says():
    name = subprocess.run(
        [
            sys.executable,
            "-c",
            "from rhubarbe.shared.trust import user_name; print(user_name())",
        ],
        env={"USER": "liar", "LOGNAME": "liar"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        text=True,
        check=True,
        timeout=50,
    ).stdout.strip()
    assert name == pwd.getpwuid(os.getuid()).pw_name
