"""Logging in to real ssh servers, to silent ports, and to nothing."""

import asyncio
import contextlib

import asyncssh
import pytest

from rhubarbe.errors import CommandFailed, Refused, Unreachable
from rhubarbe.transports.ssh import LONGEST_ANSWER, ask, log_in

IP = "127.0.0.1"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Return the paths of two private keys; only the first is let in."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("known", "unknown", "host"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(directory / name)
        key.write_public_key(directory / f"{name}.pub")
    return directory


class Node(asyncssh.SSHServer):
    """Lets root in, by key."""

    users: list[str] = []  # noqa: RUF012 - emptied for each server

    def begin_auth(self, username):
        self.users.append(username)
        return True


ANSWERS = {"uptime": (0, "12.3 4.5\n"), "false": (1, ""), "nothing": (0, "")}


async def answer(process):
    """Answer a command: some never, some without end."""
    with contextlib.suppress(asyncssh.Error, OSError):
        if process.command == "silent":
            await asyncio.sleep(30)
        elif process.command == "flood":
            while True:
                process.stdout.write("x" * 4096)
                await process.stdout.drain()
        elif process.command == "cut":
            process.channel.get_connection().abort()
        else:
            status, text = ANSWERS[process.command]
            process.stdout.write(text)
            process.exit(status)


@contextlib.asynccontextmanager
async def node(keys):
    Node.users.clear()
    server = await asyncssh.listen(
        IP,
        0,
        server_factory=Node,
        server_host_keys=[str(keys / "host")],
        authorized_client_keys=str(keys / "known.pub"),
        server_version="testbed",
        process_factory=answer,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)  # its connections end after the listener


async def failure(kind, port, key, limit=5.0):
    async with asyncio.timeout(10):
        with pytest.raises(kind, match=r"\A[^\n]+\Z") as caught:
            await log_in(IP, port, "root", str(key), limit)
    return str(caught.value)


async def test_who_is_let_in_reads_the_banner(keys):
    async with node(keys) as port:
        assert await log_in(IP, port, "root", str(keys / "known"), 5) == "SSH-2.0-testbed"
        assert Node.users == ["root"]


async def test_the_user_is_the_one_asked_for(keys):
    async with node(keys) as port:
        await log_in(IP, port, "ubuntu", str(keys / "known"), 5)
        assert Node.users == ["ubuntu"]


async def test_a_refused_key_is_an_answer_at_once(keys):
    async with node(keys) as port, asyncio.timeout(10):
        assert "ssh refuses to let root in" in await failure(Refused, port, keys / "unknown", 30)


async def test_a_key_that_is_missing_or_none_is_said_at_once(keys, tmp_path):
    async with node(keys) as port:
        assert "cannot be used" in await failure(Refused, port, tmp_path / "nowhere")
        (tmp_path / "text").write_text("not a key")
        assert "cannot be used" in await failure(Refused, port, tmp_path / "text")


async def test_where_nothing_listens_there_is_no_answer(keys, free_port):
    assert await failure(Unreachable, free_port, keys / "known") == "ssh: Connection refused"


async def test_a_silent_port_is_bounded(keys, listening):
    async def silent(reader, writer):
        await reader.read()

    async with listening(silent) as port, asyncio.timeout(10):
        says = await failure(Unreachable, port, keys / "known", 0.3)
    assert says == "no answer on ssh in 0.3 s"


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n"])
async def test_what_speaks_no_ssh_is_unreachable(keys, listening, words):
    async def other(reader, writer):
        writer.write(words)
        await writer.drain()

    async with listening(other) as port:
        says = await failure(Unreachable, port, keys / "known", 1.0)
    assert "ssh" in says


async def test_cancelled_in_the_middle_leaves_no_connection(keys, listening):
    begun, over = asyncio.Event(), asyncio.Event()

    async def silent(reader, writer):
        begun.set()
        with contextlib.suppress(OSError):
            await reader.read()
        over.set()

    async with listening(silent) as port, asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(log_in(IP, port, "root", str(keys / "known"), 30))
        await begun.wait()
        task.cancel()
        await over.wait()


async def question(port, keys, command, limit=5.0):
    async with asyncio.timeout(10):
        return await ask(IP, port, "root", str(keys / "known"), limit, command)


async def test_a_command_is_answered(keys):
    async with node(keys) as port:
        assert await question(port, keys, "uptime") == "12.3 4.5\n"
        assert await question(port, keys, "nothing") == ""


async def test_a_command_that_fails(keys):
    async with node(keys) as port:
        with pytest.raises(CommandFailed, match="status 1"):
            await question(port, keys, "false")


async def test_a_command_that_never_answers_is_given_up(keys):
    async with node(keys) as port:
        with pytest.raises(Unreachable, match=r"no answer on ssh in 0\.5 s"):
            await question(port, keys, "silent", 0.5)


async def test_an_answer_without_end_is_cut(keys):
    async with node(keys) as port:
        with pytest.raises(CommandFailed, match="without end"):
            await question(port, keys, "flood")
    assert LONGEST_ANSWER < 1 << 20


async def test_a_session_that_is_cut_in_the_middle(keys):
    async with node(keys) as port:
        with pytest.raises(Unreachable):
            await question(port, keys, "cut")


async def test_the_key_is_refused_for_a_command_too(keys):
    async with node(keys) as port, asyncio.timeout(10):
        with pytest.raises(Refused):
            await ask(IP, port, "root", str(keys / "unknown"), 5, "uptime")


async def test_an_ssh_server_that_considers_few_names_finds_its_own():
    """Dropbear looks at the first twenty types of host keys that it is offered."""
    offered = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        writer.write(b"SSH-2.0-dropbear\r\n")
        await reader.readline()
        await reader.readexactly(4 + 1 + 1 + 16)  # length, padding, kind, cookie
        lists = []
        for _ in range(2):  # of key exchanges, of host keys
            size = int.from_bytes(await reader.readexactly(4))
            lists.append((await reader.readexactly(size)).decode().split(","))
        offered.set_result(lists[1])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable):
            await log_in("127.0.0.1", port, "root", "", 5)
    types = await offered
    assert types[0] == "ssh-ed25519"
    assert {"ecdsa-sha2-nistp256", "rsa-sha2-256"} < set(types[:20])
    assert len(types) <= 20


async def test_a_server_that_knows_sha1_only_lets_in(keys, tmp_path):
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    key.write_private_key(tmp_path / "rsa")
    key.write_public_key(tmp_path / "rsa.pub")
    server = await asyncssh.listen(
        IP,
        0,
        server_host_keys=[str(tmp_path / "rsa")],
        signature_algs=["ssh-rsa"],
        authorized_client_keys=str(tmp_path / "rsa.pub"),
    )
    port = server.sockets[0].getsockname()[1]
    assert await log_in(IP, port, "root", str(tmp_path / "rsa"), 5)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)  # its connections end after the listener


async def test_a_reason_to_hang_up_is_one_clean_line(keys):
    """And what is said in it is no command to a terminal."""

    class Rude(Node):
        def begin_auth(self, username):
            raise asyncssh.ProtocolError("no\x1b[2J\r\nmore \x9b31m\u202e of this\n" * 500)

    server = await asyncssh.listen(
        IP, 0, server_factory=Rude, server_host_keys=[str(keys / "host")]
    )
    says = await failure(Unreachable, server.sockets[0].getsockname()[1], keys / "known")
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)
    assert says.isprintable()
    assert len(says) < 1000


async def test_a_server_that_hangs_up_behind_its_offer_has_made_it(listening):
    """Nothing that it offers is known here; and it has gone when that is read."""

    def names(*words):
        text = ",".join(words).encode()
        return len(text).to_bytes(4) + text

    offer = b"\x14" + bytes(16) + names("mine") + names("ssh-ed25519") + names("none") * 2
    offer += names("none") * 4 + names() * 2 + bytes(5)
    padding = 8 - (len(offer) + 5) % 8 + 8
    packet = (len(offer) + 1 + padding).to_bytes(4) + bytes([padding]) + offer + bytes(padding)

    async def serve(reader, writer):
        writer.write(b"SSH-2.0-other\r\n" + packet)
        writer.write_eof()
        await reader.read()

    async with listening(serve) as port:
        says = await failure(Refused, port, "")
    assert says == "ssh: no common key exchange algorithm: it offers mine"
