"""The image server as a child process: servers of a few lines that do well, or do not."""

import asyncio
import contextlib
import os
import sys
import textwrap
from pathlib import Path

import pytest

from rhubarbe.bus import Bus
from rhubarbe.config.settings import FrisbeeSettings, NetworkingSettings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ImageServed, ServerSaid
from rhubarbe.gateway.engines import frisbeed
from rhubarbe.gateway.engines.frisbeed import serve
from rhubarbe.gateway.processes import children, programs

READY = """
    with open(option["-A"], "w") as told:
        print(option["-m"] + ":" + option["-p"], file=told)
"""
STAY = """
    threading.Event().wait()
"""
HEAD = """\
#!{python} -ISu
import os, signal, sys, threading
here = os.path.dirname(sys.argv[0])
option = dict(zip(sys.argv[1:-1], sys.argv[2:]))
with open(os.path.join(here, "starts"), "a") as starts:
    print(os.getpid(), *sys.argv[1:], file=starts)
"""


class Gateway:
    """Serves with a server of our own making, and hears what is said on the bus."""

    def __init__(self, directory):
        self.directory = directory
        self.program = directory / "a-frisbeed"
        self.image = directory / "an image.ndz"
        self.image.touch()
        self.bus = Bus()
        self.heard = []
        self.bus.report = self.heard.append

    def server(self, body):
        self.program.write_text(HEAD.format(python=sys.executable) + textwrap.dedent(body))
        self.program.chmod(0o700)

    def serve(self, size=20, options="-K 3", guardian=None):
        return serve(
            self.image,
            address="127.0.0.1",
            bandwidth_mibps=100,
            programs=FrisbeeSettings(server=str(self.program), server_options=options),
            networking=NetworkingSettings(pattern_size=size),
            bus=self.bus,
            guardian=guardian,
        )

    def starts(self):
        path = self.directory / "starts"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def said(self):
        return [event.line for event in self.heard if isinstance(event, ServerSaid)]

    def all_ended(self):
        return not any(Path(f"/proc/{pid}").exists() for pid, *_ in self.starts())


@pytest.fixture
def gateway(tmp_path):
    return Gateway(tmp_path)


async def refusal(gateway, **options):
    async with asyncio.timeout(10):
        with pytest.raises(GatewayError, match=r"\A[^\n]+\Z") as caught:
            async with gateway.serve(**options):
                raise AssertionError("served")
    return str(caught.value)


async def test_it_serves_once_it_says_so(gateway):
    gateway.server(textwrap.dedent(READY + STAY))
    async with gateway.serve() as server:
        group, port = server.channel.group, server.channel.port
        assert group == f"234.5.6.{port - 10000}"
        assert 10001 <= port <= 10020
        assert gateway.heard == [ImageServed(group=group, port=port, bandwidth_mibps=100)]
        ((pid, *arguments),) = gateway.starts()
        assert int(pid) == server.pid
        assert not gateway.all_ended()
    assert gateway.all_ended()
    text = " ".join(arguments)
    assert f"-i 127.0.0.1 -W {100 << 20} -K 3 -m {group} -p {port} -A /dev/fd/" in text
    assert text.endswith(str(gateway.image))


async def test_a_server_that_is_not_ready_yet_is_waited_for(gateway):
    os.mkfifo(gateway.directory / "go")
    gateway.server('open(os.path.join(here, "go")).read()' + textwrap.dedent(READY + STAY))

    async def go():
        while not gateway.starts():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
        assert gateway.heard == []
        await asyncio.to_thread((gateway.directory / "go").write_text, "go")

    async with asyncio.TaskGroup() as group:
        group.create_task(go())
        async with gateway.serve():
            assert len(gateway.heard) == 1


async def test_a_port_in_use_leads_to_the_next(gateway):
    count = "if len(open(os.path.join(here, 'starts')).readlines()) < 3: sys.exit(98)"
    gateway.server(count + textwrap.dedent(READY + STAY))
    async with gateway.serve() as server:
        ports = [start[start.index("-p") + 1] for start in gateway.starts()]
        assert len(set(ports)) == 3
        assert ports[-1] == str(server.channel.port)


class Recorder:
    """A guardian that only remembers whom it was told of, and whom no more."""

    def __init__(self):
        self.guarded = []
        self.environ = {"RHUBARBE_GUARDED": "token"}

    @contextlib.contextmanager
    def guarding_child(self, pid):
        self.guarded.append(pid)
        yield
        self.guarded.remove(pid)


async def test_the_guardian_knows_a_server_that_is_not_ready_yet(gateway):
    """A command that is killed while its server starts must not leave it behind."""
    os.mkfifo(gateway.directory / "go")
    gateway.server('open(os.path.join(here, "go")).read()' + textwrap.dedent(READY + STAY))
    guardian = Recorder()

    async def go():
        while not (gateway.starts() and guardian.guarded):  # noqa: ASYNC110 - a process writes it
            await asyncio.sleep(0.02)
        assert guardian.guarded == [int(gateway.starts()[0][0])]
        await asyncio.to_thread((gateway.directory / "go").write_text, "go")

    async with asyncio.TaskGroup() as group:
        group.create_task(go())
        async with gateway.serve(guardian=guardian) as server:
            assert guardian.guarded == [server.pid]
    assert guardian.guarded == []


async def test_all_ports_in_use_is_an_error(gateway):
    gateway.server("sys.exit(98)")
    assert "all 3 groups and ports are in use" in await refusal(gateway, size=3)
    assert len(gateway.starts()) == 3


async def test_a_server_that_fails_is_quoted(gateway):
    gateway.server(
        "print('starting\\nan image.ndz: not an ndz image', file=sys.stderr); sys.exit(255)"
    )
    says = await refusal(gateway)
    assert says.endswith("a-frisbeed ended with status 255: an image.ndz: not an ndz image")
    assert len(gateway.starts()) == 1


async def test_a_server_that_ends_without_a_word_is_an_error(gateway):
    gateway.server("sys.exit(0)")
    assert "ended with status 0" in await refusal(gateway)


async def test_a_server_that_is_missing_is_named(gateway):
    assert "a-frisbeed: no such program" in await refusal(gateway)


async def test_a_server_that_is_never_ready_is_bounded(gateway, monkeypatch):
    monkeypatch.setattr(frisbeed, "START_LIMIT_S", 0.5)
    gateway.server(STAY)
    assert "did not say in 0.5 s that it is ready" in await refusal(gateway)
    assert gateway.all_ended()


async def test_a_server_that_dies_raises_the_alarm_with_its_last_words(gateway):
    dies = "sys.stdin = open(os.path.join(here, 'die')).read()\nsys.exit('disk read error')\n"
    os.mkfifo(gateway.directory / "die")
    gateway.server(textwrap.dedent(READY) + dies)
    async with asyncio.timeout(10), gateway.serve() as server:
        await asyncio.to_thread((gateway.directory / "die").write_text, "now")
        with pytest.raises(GatewayError, match="ended with status 1: disk read error"):
            await server.alarm()
    assert gateway.said() == ["disk read error"]


async def test_what_it_says_goes_onto_the_bus(gateway):
    talks = 'sys.stderr.write("one\\r\\n\\ntwo\\x80\\rthree"); sys.exit(0)\n'
    gateway.server(textwrap.dedent(READY) + talks.replace("\\x80", ""))
    async with asyncio.timeout(10), gateway.serve() as server:
        with pytest.raises(GatewayError, match="status 0: three"):
            await server.alarm()
    assert gateway.said() == ["one", "two", "three"]


async def test_a_server_that_talks_without_end_is_not_held_up(gateway):
    gateway.server(textwrap.dedent(READY) + "os.write(2, b'x' * 1000000)\nsys.exit('done')\n")
    async with asyncio.timeout(10), gateway.serve() as server:
        with pytest.raises(GatewayError, match="done"):
            await server.alarm()


async def test_a_server_that_talks_before_it_is_ready_is_not_held_up(gateway):
    """More than a pipe holds."""
    gateway.server("os.write(2, b'starting\\n' * 100000)" + textwrap.dedent(READY + STAY))
    async with asyncio.timeout(10), gateway.serve():
        assert len(gateway.said()) == 100000
        assert isinstance(gateway.heard[-1], ImageServed)


async def test_a_line_without_end_is_not_kept_in_memory(gateway):
    endless = "for _ in range(200): os.write(2, b'x' * 65536)\nos.write(2, b'\\nlast')\nsys.exit()"
    gateway.server(textwrap.dedent(READY) + endless)
    async with asyncio.timeout(20), gateway.serve() as server:
        with pytest.raises(GatewayError, match="status 0: last"):
            await server.alarm()
    assert gateway.said() == ["x" * children.LONGEST_LINE, "last"]


async def test_last_words_are_not_waited_for_where_others_hold_the_pipe(gateway):
    leaves = "if os.fork() == 0:\n    open(os.path.join(here, 'go')).read()\n    os._exit(0)\n"
    os.mkfifo(gateway.directory / "go")
    gateway.server(textwrap.dedent(READY) + leaves + "sys.exit('gone')")
    async with asyncio.timeout(10), gateway.serve() as server:
        with pytest.raises(GatewayError, match="gone"):
            await server.alarm()
    await asyncio.to_thread((gateway.directory / "go").write_text, "go")


async def test_a_server_that_cannot_be_run_is_named(gateway):
    gateway.program.write_text("#!/no/such/interpreter\n")
    gateway.program.chmod(0o700)
    assert "a-frisbeed: cannot be run: No such file" in await refusal(gateway)


async def test_a_server_that_ignores_being_asked_is_killed(gateway, monkeypatch):
    monkeypatch.setattr(programs, "GRACE_S", 0.2)
    gateway.server("signal.signal(signal.SIGTERM, signal.SIG_IGN)" + textwrap.dedent(READY + STAY))
    async with asyncio.timeout(10):
        async with gateway.serve():
            pass
    assert gateway.all_ended()


@pytest.mark.parametrize("body", [READY + STAY, STAY], ids=["serving", "starting"])
async def test_it_is_ended_when_we_are_cancelled(gateway, body):
    gateway.server(body)

    async def work():
        async with gateway.serve():
            await asyncio.Event().wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        working = group.create_task(work())
        while not (gateway.heard if body != STAY else gateway.starts()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        working.cancel()
    assert gateway.all_ended()
