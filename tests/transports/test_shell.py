"""A shell by ssh, as by telnet: what passes, who is let in, and that nothing stays open."""

import asyncio
import contextlib

import asyncssh
import pytest

from rhubarbe.config.settings import NetworkingSettings, RamdiskShell
from rhubarbe.errors import Refused, Unreachable
from rhubarbe.transports.shell import open_session, shell_port
from rhubarbe.transports.ssh import open_shell

IP = "127.0.0.1"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Return the directory of private keys; only the first is let in."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("known", "unknown", "host"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(directory / name)
        key.write_public_key(directory / f"{name}.pub")
    return directory


class Node:
    """A server whose shell is a coroutine; it knows what became of each session."""

    def __init__(self, keys, shell):
        self._keys = keys
        self._shell = shell
        self.terminals = []
        self._connections = []
        self.over = asyncio.Event()

    async def serve(self, process):
        self.terminals.append((process.term_type, process.command))
        self._connections.append(process.channel.get_connection())
        try:
            with contextlib.suppress(asyncssh.Error, OSError):
                await self._shell(process)
        finally:
            self.over.set()

    @contextlib.asynccontextmanager
    async def serving(self):
        server = await asyncssh.listen(
            IP,
            0,
            server_host_keys=[str(self._keys / "host")],
            authorized_client_keys=str(self._keys / "known.pub"),
            process_factory=self.serve,
            line_editor=False,
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for connection in self._connections:
                connection.abort()
            await server.wait_closed()
            await asyncio.sleep(0.05)  # its connections end after the listener


async def gather(session):
    return "".join([piece async for piece in session.pieces()])


async def silent(process):
    await process.stdin.read()


async def test_what_is_sent_and_said_passes(keys):
    async def shell(process):
        process.stdout.write("/ # ")
        heard = await process.stdin.readline()
        process.stdout.write(heard.upper().replace("\n", "\r\n") + "été")
        process.exit(0)

    node = Node(keys, shell)
    async with node.serving() as port, asyncio.timeout(10):
        networking = NetworkingSettings(ssh_port=port, ssh_key=str(keys / "known"))
        async with open_session(RamdiskShell.SSH, IP, networking) as session:
            await session.send("frisbee; exit\n")
            assert await gather(session) == "/ # FRISBEE; EXIT\r\nété"
    assert node.terminals == [("dumb", None)]


def test_each_shell_has_its_port():
    networking = NetworkingSettings(ssh_port=2222, telnet_port=2323)
    assert shell_port(RamdiskShell.SSH, networking) == 2222
    assert shell_port(RamdiskShell.TELNET, networking) == 2323


async def test_who_has_another_key_is_refused(keys):
    async with Node(keys, silent).serving() as port, asyncio.timeout(10):
        with pytest.raises(Refused, match="refuses to let root in"):
            async with open_shell(IP, port, str(keys / "unknown"), 5):
                raise AssertionError("a session without a key")


async def test_where_nothing_listens_there_is_no_answer(keys, free_port):
    with pytest.raises(Unreachable, match="Connection refused"):
        async with open_shell(IP, free_port, str(keys / "known"), 5):
            raise AssertionError("a session with nobody")


async def test_a_silent_port_is_bounded(keys, listening):
    async def mute(reader, writer):
        await reader.read()

    async with listening(mute) as port, asyncio.timeout(10):
        with pytest.raises(Unreachable, match=r"no answer on ssh in 0\.3 s"):
            async with open_shell(IP, port, str(keys / "known"), 0.3):
                raise AssertionError("a session with a mute server")


async def test_a_session_that_is_cut_is_unreachable_or_ends(keys):
    async def shell(process):
        process.stdout.write("Joined")
        await process.stdout.drain()
        process.channel.get_connection().abort()

    async with (
        Node(keys, shell).serving() as port,
        asyncio.timeout(10),
        open_shell(IP, port, str(keys / "known"), 5) as session,
    ):
        with contextlib.suppress(Unreachable):
            assert await gather(session) in ("", "Joined")


async def test_the_limit_of_who_converses_is_its_own(keys):
    async with (
        Node(keys, silent).serving() as port,
        asyncio.timeout(10),
        open_shell(IP, port, str(keys / "known"), 5) as session,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await gather(session)


@pytest.mark.parametrize("error", [KeyError, OSError, ValueError, TimeoutError])
async def test_the_session_is_closed_on_the_way_out(keys, error):
    """What is raised within the context is none of the library's."""
    node = Node(keys, silent)
    async with node.serving() as port, asyncio.timeout(10):
        with pytest.raises(error):
            async with open_shell(IP, port, str(keys / "known"), 5):
                raise error
        await node.over.wait()


@pytest.mark.parametrize("pause", [0, 0.02, 0.3])
async def test_cancelled_at_any_moment_leaves_no_connection(keys, pause):
    node = Node(keys, silent)

    async def converse(port):
        async with open_shell(IP, port, str(keys / "known"), 30) as session:
            await gather(session)

    async with node.serving() as port, asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(converse(port))
            await asyncio.sleep(pause)
            task.cancel()
        if node.terminals:
            await node.over.wait()


async def test_cancelled_as_the_connection_is_made_it_is_not_gone_on_with(keys, monkeypatch):
    """asyncio.wait_for, in the library's own timeout, would swallow this cancellation."""
    connect = asyncssh.connection._connect

    async def connecting(*given, **options):
        made = await connect(*given, **options)
        task.cancel()
        return made

    monkeypatch.setattr(asyncssh.connection, "_connect", connecting)

    async def converse(port):
        async with open_shell(IP, port, str(keys / "known"), 30) as session:
            await gather(session)

    async with Node(keys, silent).serving() as port, asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(converse(port))
        assert task.cancelled()


async def test_a_node_that_is_gone_holds_nothing_up(keys):
    """Its end of the connection never answers: the way out does not wait for it."""

    async def gone(process):
        transport = process.channel.get_connection()._transport
        transport.pause_reading()
        await asyncio.sleep(1)

    async with Node(keys, gone).serving() as port, asyncio.timeout(10):
        async with open_shell(IP, port, str(keys / "known"), 5) as session:
            await session.send("x" * 1000)
            await asyncio.sleep(0.1)
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < 0.5
