"""One command at a time on a node; who is refused learns by whom; a dead holder holds nothing."""

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import time

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.locks import hold

HOLDER = """
import asyncio, sys
from pathlib import Path
from rhubarbe.gateway.locks import hold

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


async def test_words_of_other_users_cannot_garble_the_terminal(tmp_path):
    with start_holder(tmp_path, "fit01") as process:
        words = next((tmp_path / "locks").glob("fit01.holder.*"))
        words.write_text(words.read_text().replace("load", "\\u001b[2Jload"))
        with pytest.raises(GatewayError) as error:
            async with hold(tmp_path, "save", ["fit01"], 0):
                pytest.fail("held twice")
        assert str(error.value).isprintable()
        process.kill()


async def test_a_state_directory_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewayError, match="state_dir"):
        async with hold(tmp_path / "file" / "state", "load", ["fit01"], 0):
            pytest.fail("held nowhere")


def test_who_we_are_is_known_without_a_terminal_and_whatever_the_environment_says():
    name = subprocess.run(
        [sys.executable, "-c", "from rhubarbe.gateway.locks import user_name; print(user_name())"],
        env={"USER": "liar", "LOGNAME": "liar"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        text=True,
        check=True,
        timeout=50,
    ).stdout.strip()
    assert name == pwd.getpwuid(os.getuid()).pw_name


async def test_a_holder_that_has_not_yet_said_so_is_given_a_moment(tmp_path):
    with start_holder(tmp_path, "fit01") as process:
        words = next((tmp_path / "locks").glob("fit01.holder.*"))
        text = words.read_text()
        words.unlink()
        asyncio.get_running_loop().call_later(0.1, words.write_text, text)
        with pytest.raises(GatewayError, match=f"load .pid {process.pid}"):
            async with hold(tmp_path, "save", ["fit01"], 0):
                pytest.fail("held twice")
        process.kill()


async def test_words_that_cannot_be_removed_do_not_break_the_end(tmp_path):
    async with hold(tmp_path, "load", ["fit01"], 0.0):
        shutil.rmtree(tmp_path / "locks")
        (tmp_path / "locks").write_text("a file, where the directory was")
