"""Programs of the site: whatever they do, the answer is one line in time, and nothing is left."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from conformance import PowerConformance
from simulated import made

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError, GatewayError
from rhubarbe.inventory import Driver, Entry, Interface
from rhubarbe.node.tries import happens
from rhubarbe.transports.power import CONTROLS

ENTRY = Entry(7, Interface("fit07", "192.0.2.7", "02:00:00:00:00:07"), None, None)
# It speaks to a port of this machine, a line for a line.
TALKER = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/$1 || exit 1
echo "$2" >&3
read -r answer <&3 || exit 2
echo "$answer"
"""


@pytest.fixture
def program(tmp_path):
    """Write a program of the site; return the control that it is."""

    def write(text, within=5.0, words=("{node}", "{verb}"), **said):
        path = tmp_path / "outlet"
        path.write_text(text if text.startswith("#!") else f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
        return made("command", within, command=[str(path), *words], **said)

    return write


class TestConformance(PowerConformance):
    """As every kind, by a program that speaks TCP."""

    nobody = "ends {verb} with status 1: .*Connection refused"

    @pytest.fixture(autouse=True)
    def _talks(self, tmp_path):
        self.talker = tmp_path / "talker"
        self.talker.write_text(TALKER)
        self.talker.chmod(0o755)

    def control(self, port, within):
        return made("command", within, command=f"{self.talker} {port} {{verb}}")

    @contextlib.asynccontextmanager
    async def serve(self, machine):
        writers = []

        async def accepted(reader, writer):
            writers.append(writer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                verb = (await reader.readuntil(b"\n")).decode().strip()
                if verb == "status":
                    writer.write(b"on\n" if machine.seen() else b"off\n")
                elif verb in ("on", "off", "reset"):
                    machine.press(verb)
                    writer.write(b"ok\n")
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for writer in writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("said", "is_on"),
    [("on", True), ("off", False), ("ON", True), ("\n  Off \nfor people", False), ("on\r", True)],
)
async def test_its_first_line_is_the_answer(program, said, is_on):
    assert await program(f"printf %s {_quoted(said)}").is_on() is is_on


def _quoted(text):
    return "'" + text + "'"


@pytest.mark.parametrize("said", ["", "onwards", "status: on", "1", "on off"])
async def test_a_status_that_is_neither_is_an_error(program, said):
    with pytest.raises(CardError, match=r"answers status with '.*', expected on or off"):
        await program(f"echo '{said}'").is_on()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo on; exit 3", "ends status with status 3: on"),
        ("echo busy >&2; echo on; exit 3", "ends status with status 3: busy"),
        ("exit 1", "ends status with status 1: it does not say why"),
        ("kill -TERM $$", "ends status with signal 15: it does not say why"),
        (r"printf '\033]0;x\007\033[31mno\nway' >&2; exit 9", "ends status with status 9: no"),
        ("yes", "answers status by outlet, which writes more than 65536 bytes"),
        ("yes >&2", "answers status by outlet, which writes more than 65536 bytes"),
    ],
)
async def test_one_that_fails_says_why_in_one_clean_line(program, text, words):
    with pytest.raises(CardError) as caught:
        await program(text).is_on()
    assert str(caught.value) == words.replace("by outlet", f"by {_path(caught)}")


def _path(caught):
    return str(caught.value).split()[3].rstrip(",")


async def test_it_is_told_which_node_and_what_to_do(program, tmp_path):
    said = {
        "command": [str(tmp_path / "outlet"), "-n{node}", "{verb}", "{address}", "a  b;c", "{}"]
    }
    program(f'printf "%s|" "$@" >{tmp_path}/told')
    values = CONTROLS.values(Driver("command", said), ENTRY)
    await CONTROLS.named("command")(values, 5, NetworkingSettings()).send("reset")
    assert (tmp_path / "told").read_text() == "-nfit07|reset|192.0.2.7|a  b;c|{}|"


async def test_what_is_put_in_is_not_read_again(program, tmp_path):
    control = program(
        f'printf "%s|" "$@" >{tmp_path}/told', node="{verb} $(id)", address="'; {node}"
    )
    await control.send("on")
    assert (tmp_path / "told").read_text() == "{verb} $(id)|on|"


async def test_a_secret_is_read_and_in_no_argument_and_no_variable(program, tmp_path):
    control = program(
        f'cd {tmp_path}; read -r line; echo "$line" >secret; tr "\\0" " " </proc/$$/cmdline >words;'
        "env >variables; cat >rest; echo on",
        password="s3cr3t \\w",
    )
    assert await control.is_on()
    assert (tmp_path / "secret").read_text() == "s3cr3t \\w\n"
    assert (tmp_path / "rest").read_text() == ""
    for name in ("words", "variables"):
        assert "s3cr3t" not in (tmp_path / name).read_text()


async def test_it_reads_nothing_of_ours_where_there_is_no_secret(program):
    assert await program("read -r line && exit 1; echo on").is_on()


@pytest.mark.parametrize("how", ["sleep 60", "trap '' TERM INT HUP; sleep 60", "sleep 60 & wait"])
async def test_it_is_ended_with_all_that_it_has_started(program, tmp_path, how):
    control = program(f"echo $$ >{tmp_path}/group; {how}; echo on", within=0.3)
    with pytest.raises(CardError, match=r"no answer in 0\.3 s to status"):
        await control.is_on()
    await _gone(int((tmp_path / "group").read_text()))


async def test_it_is_ended_when_the_command_is(program, tmp_path):
    said = tmp_path / "group"
    control = program(f"sleep 60 & echo $$ >{said}; wait", within=60)

    async def has_begun():
        return said.exists() and bool(said.read_text())

    async with asyncio.TaskGroup() as group, asyncio.timeout(20):
        asking = group.create_task(control.is_on())
        assert await happens(has_begun, 20, 0.01)
        asking.cancel()
    await _gone(int(said.read_text()))


async def test_what_it_leaves_behind_neither_holds_the_answer_up_nor_stays(program, tmp_path):
    control = program(f"echo $$ >{tmp_path}/group; sleep 60 & echo on", within=20)
    async with asyncio.timeout(10):
        assert await control.is_on()
    await _gone(int((tmp_path / "group").read_text()))


async def test_what_has_a_session_of_its_own_does_not_hold_the_answer_up(program, tmp_path):
    control = program(f"setsid sh -c 'echo $$ >{tmp_path}/pid; sleep 60' & sleep 0.1; echo on", 20)
    async with asyncio.timeout(10):
        assert await control.is_on()
    os.killpg(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def _gone(group):
    """Return once no process of a group is left, save those that only wait to be reaped."""

    async def is_gone():
        return not any(_is_of(group, stat) for stat in _stats())

    assert await happens(is_gone, 10, 0.01)


def _stats():
    return list(Path("/proc").glob("[0-9]*/stat"))


def _is_of(group, stat):
    with contextlib.suppress(OSError):
        state, _, number = stat.read_text().rpartition(")")[2].split()[:3]
        return int(number) == group and state != "Z"
    return False


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/no/such/outlet", "/no/such/outlet: no such program on this gateway"),
        ("/etc/passwd", "/etc/passwd: no such program on this gateway"),
    ],
)
async def test_one_that_is_not_there_is_the_gateway_s_fault(path, words):
    with pytest.raises(GatewayError, match=words):
        await made("command", 5, command=f"{path} {{verb}}").is_on()


async def test_one_that_cannot_be_run_is_the_gateway_s_fault(program):
    with pytest.raises(GatewayError, match="outlet: cannot be run: No such file or directory"):
        await program("#!/no/such/interpreter\n").is_on()


@pytest.mark.parametrize(
    "command",
    ["outlet", "outlet status", "{verb}", "outlet '{verb}", "outlet {verb} {host}", "", [], ["a"]],
)
def test_a_command_that_cannot_be_right_is_told(command):
    (fault,) = CONTROLS.faults(Driver("command", {"command": command}))
    assert fault.startswith("power.command: expected a program and its words, {verb} in one of")


@pytest.mark.parametrize("command", [["outlet", ["{verb}"]], ["outlet", {"a": 1}], {"a": "{verb}"}])
def test_a_command_is_a_text_or_a_list_of_texts(command):
    (fault,) = CONTROLS.faults(Driver("command", {"command": command}))
    assert fault.startswith("power.command: expected a program")


def test_two_nodes_may_have_the_same_program_but_not_the_same_words():
    def outlet(number, **said):
        interface = Interface(f"fit{number}", f"192.0.2.{number}", "02:00:00:00:00:07")
        values = CONTROLS.values(Driver("command", said), Entry(number, interface, None, None))
        return CONTROLS.named("command").outlet(values, NetworkingSettings())

    assert outlet(1, command="o {node} {verb}") != outlet(2, command="o {node} {verb}")
    assert outlet(1, command="o 7 {verb}") == outlet(2, command=["o", "7", "{verb}"])


async def test_other_questions_are_asked_it_too(program):
    control = program('[ "$2" = info ] && echo rack 3, outlet 7')
    assert await control.ask("info") == "rack 3, outlet 7"
    with pytest.raises(CardError, match="ends usrpstatus with status 1"):
        await control.ask("usrpstatus")
