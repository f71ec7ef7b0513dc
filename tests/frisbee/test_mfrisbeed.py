"""The master server and its clients, as a user runs them, on loopback addresses of the test's own.

Emulab's programs are not at hand: what they say is in `test_master.py`, as it is described.
"""

import asyncio
import contextlib
import hashlib
import os
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest
from programs import Network, program

from rhubarbe.frisbee import mfrisbeed
from rhubarbe.frisbee.master import PORT, REPLY_BYTES, GetReply, GetRequest, Method, Refusal

ANYBODY = ("--anybody",)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def images(tmp_path, large_image):
    """A directory of images, one of which only its owner may read, and links."""
    path, _ = large_image
    directory = tmp_path / "images"
    directory.mkdir()
    for name, mode in (("debian", 0o644), ("fedora", 0o644), ("private", 0o600)):
        made = directory / f"{name}.ndz"
        made.write_bytes(path.read_bytes())
        made.chmod(mode)
    (directory / "stable.ndz").symlink_to("debian.ndz")
    (directory / "away.ndz").symlink_to(path)
    (directory / "notes").write_text("no image")
    return directory


class Master:
    """A running master server, and what it has said so far."""

    def __init__(self, network, process):
        self.network, self.process = network, process
        self.lines = []

    def wait_for(self, words):
        while not (self.lines and words in self.lines[-1]):
            line = self.process.stderr.readline().decode()
            assert line, f"it ended after {self.lines}"
            self.lines.append(line.rstrip("\n"))

    def client(self, number, *words, **pipes):
        server = self.network.server
        line = [*program("frisbee"), "-i", self.network.client(number), "-S", server, *words]
        pipes.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(line, stdout=subprocess.PIPE, text=True, **pipes)

    def ask(self, number, *words):
        """Return the exit status of a client, and what it said."""
        with self.client(number, *words) as client:
            said, complained = client.communicate(timeout=30)
        return client.returncode, said or complained


@contextlib.contextmanager
def mastering(network, directory, *options, count=3):
    ports = f"{network.port}-{network.port + count - 1}"
    session = ["-i", network.server, "-m", network.group, "-p", ports]
    line = [*program("mfrisbeed"), "-d", *session, *options, str(directory)]
    with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
        master = Master(network, process)
        try:
            master.wait_for("Answering at ")
            yield master
        finally:
            process.terminate()
            master.lines += process.stderr.read().decode().splitlines()
            assert process.wait(20) == 0, master.lines


def _hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_clients_get_an_image_by_its_name_in_one_session(network, images, large_image, tmp_path):
    disks = [tmp_path / f"disk{number}" for number in range(3)]
    with mastering(network, images, *ANYBODY) as master, contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(master.client(number, "-F", name, str(disk)))
            for number, (name, disk) in enumerate(
                zip(("debian", "debian.ndz", "stable"), disks, strict=True)
            )
        ]
        for client in started:
            _, said = client.communicate(timeout=30)
            assert client.returncode == 0, said
            assert f"Using Multicast {network.group}\n" in said
    assert {_hash(disk) for disk in disks} == {large_image[1]}
    assert sum(line.startswith("debian.ndz is served at") for line in master.lines) == 1


def test_one_client_alone_gets_it_by_unicast(network, images, large_image, tmp_path):
    with mastering(network, images, *ANYBODY) as master:
        status, said = master.ask(0, "-X", "ucast", "-F", "fedora", str(tmp_path / "disk"))
    assert status == 0, said
    assert "Multicast" not in said
    assert _hash(tmp_path / "disk") == large_image[1]


def test_who_may_have_what(network, images, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text(f"fedora* {network.client(1)}\n* {network.client(0)} {network.client(1)}\n")
    rules.chmod(0o644)
    with mastering(network, images, "-c", str(rules)) as master:
        size = (images / "debian.ndz").stat().st_size
        for number, name, status, words in (
            (0, "debian", 0, f"debian: may be had, {size} bytes"),
            (0, "stable", 0, f"stable: may be had, {size} bytes"),
            (0, "fedora", 255, "fedora: this host may not have it"),
            (1, "fedora", 0, f"fedora: may be had, {size} bytes"),
            (2, "debian", 255, "debian: this host is not known there"),
            (0, "private", 255, "private: there is no such image"),
            (0, "away", 255, "away: there is no such image"),
            (0, "notes", 255, "notes: there is no such image"),
            (0, "none", 255, "none: there is no such image"),
            (0, "../images/debian", 255, "../images/debian: the question is not understood"),
        ):
            assert master.ask(number, "-Q", name) == (status, words + "\n")
        disk = tmp_path / "disk"
        assert master.ask(0, "-F", "fedora", str(disk)) == (
            255,
            "fedora: this host may not have it\n",
        )
        assert not disk.exists()
        refused = (255, "debian: it is not served in this way (-X)\n")
        assert master.ask(0, "-X", "bcast", "-F", "debian", str(disk)) == refused
        # for another host, only this machine may ask
        words = ["-P", network.client(1), "-Q", "fedora"]
        assert master.ask(0, *words) == (255, "fedora: this host may not have it\n")
        assert master.ask(-1, *words)[0] == 0
    assert not [line for line in master.lines if "is served at" in line]


def test_an_image_that_has_no_channel_yet_is_waited_for(network, images, large_image, tmp_path):
    disk = tmp_path / "disk"
    with mastering(network, images, "-T", "2", *ANYBODY, count=1) as master:
        assert master.ask(0, "-F", "debian", str(disk))[0] == 0
        assert master.ask(1, "-F", "fedora", str(disk)) == (
            255,
            "fedora: it is busy; -B SECONDS asks again\n",
        )
        status, said = master.ask(1, "-B", "1", "-F", "fedora", str(disk))
    assert status == 0, said
    assert said.startswith("fedora: image busy, waiting 1 seconds...\n")
    assert _hash(disk) == large_image[1]


def test_what_it_does_not_understand_ends_a_connection_and_nothing_else(network, images):
    good = GetRequest(b"debian", Method.MULTICAST, only_asks=True).encode()
    with mastering(network, images, *ANYBODY) as master:
        for question in (b"\0" * 272, b"V01\0\0\0\0\7", good[:14] + b"\xff\xff" + good[16:]):
            assert _said_to(network, question) == b""
        nameless = _said_to(network, good[:14] + b"\0\0" + bytes(256))
        assert GetReply.decode(nameless).refusal == Refusal.INVALID
        leave = _said_to(network, b"V01\0\0\0\0\3" + bytes(279))
        assert leave == b"V01\0\0\0\0\4\0\x0a" + bytes(281)
        assert len(_said_to(network, good * 3)) == 3 * REPLY_BYTES
        assert master.ask(0, "-Q", "debian")[0] == 0


def test_a_host_that_holds_connections_holds_up_itself_only(network, images):
    place = (network.server, PORT)
    with mastering(network, images, *ANYBODY) as master, contextlib.ExitStack() as stack:
        for _ in range(8):
            silent = socket.create_connection(place, source_address=(network.client(1), 0))
            stack.enter_context(silent)
        assert master.ask(1, "-Q", "debian")[0] == 255
        assert master.ask(0, "-Q", "debian")[0] == 0


def _said_to(network, question):
    """What it answers until it has read all, or closes."""
    with socket.create_connection((network.server, PORT), 20) as connection:
        connection.sendall(question)
        with contextlib.suppress(OSError):  # it may have closed
            connection.shutdown(socket.SHUT_WR)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(4096):
                said += part
        return said


def test_a_link_to_itself_is_no_image(network, images):
    (images / "loop.ndz").symlink_to("loop.ndz")
    with mastering(network, images, *ANYBODY) as master:
        assert master.ask(0, "-Q", "loop") == (255, "loop: there is no such image\n")
    assert not [line for line in master.lines if "Traceback" in line]


def test_an_image_that_was_replaced_is_served_anew(network, images, tmp_path):
    disk, other = tmp_path / "disk", tmp_path / "other"
    other.write_bytes(os.urandom(100_000))
    with mastering(network, images, *ANYBODY) as master:
        assert master.ask(0, "-F", "debian", str(disk))[0] == 0
        (tmp_path / "new").write_bytes(other.read_bytes())
        (tmp_path / "new").replace(images / "debian.ndz")
        status, said = master.ask(0, "-N", "-F", "debian", str(disk))
    assert status == 0, said
    assert _hash(disk) == _hash(other)


@pytest.mark.parametrize("address", ["234.5.6.7", "255.255.255.255", "240.0.0.1", "0.0.0.1"])
def test_nothing_is_served_to_what_is_no_host(address, network, images):
    with mastering(network, images, *ANYBODY) as master:
        words = ["-X", "ucast", "-P", address, "-F", "debian", "/dev/null"]
        assert master.ask(-1, *words) == (255, "debian: the question is not understood\n")
    assert not [line for line in master.lines if "is served at" in line]


def test_who_reads_no_answer_is_let_go(network, images, monkeypatch):
    monkeypatch.setattr(mfrisbeed, "_SAYS_WITHIN_S", 0.5)
    settings = mfrisbeed.read_settings(["--anybody", str(images)])
    question = GetRequest(b"?", Method.MULTICAST).encode()

    async def ask_without_end():
        master = mfrisbeed.Master(settings, network.server, None, print)
        server = await asyncio.start_server(master.answer, network.server, 0)
        place = server.sockets[0].getsockname()
        with socket.create_connection(place) as connection:
            connection.settimeout(0)
            try:
                async with asyncio.timeout(60):
                    while True:
                        await asyncio.get_running_loop().sock_sendall(connection, question)
            finally:
                server.close()
                await master.end()

    with pytest.raises(ConnectionError):
        asyncio.run(ask_without_end())


def test_who_asks_does_not_wait_for_who_reads_the_log(network, images):
    question = GetRequest(b"x" * 250, Method.MULTICAST, only_asks=True).encode()
    with mastering(network, images, *ANYBODY) as master, contextlib.ExitStack() as stack:
        connection = socket.create_connection((network.server, PORT), 20)
        stack.enter_context(connection)
        for _ in range(500):  # more than a pipe holds
            connection.sendall(question)
            assert len(connection.recv(REPLY_BYTES, socket.MSG_WAITALL)) == REPLY_BYTES
        master.process.terminate()
        assert master.process.wait(20) == 0


def test_more_connections_than_it_can_have_are_told_in_a_line(network, images):
    place = (network.server, PORT)
    with mastering(network, images, *ANYBODY) as master, contextlib.ExitStack() as stack:
        limit = (40, 40)
        resource.prlimit(master.process.pid, resource.RLIMIT_NOFILE, limit)
        for number in range(10):
            for _ in range(8):
                source = (network.client(number), 0)
                stack.enter_context(socket.create_connection(place, 20, source_address=source))
        master.wait_for("Too many open files")
    assert sum("Too many open files" in line for line in master.lines) < 5
    assert not [line for line in master.lines if "Traceback" in line]


def test_it_ends_at_once_while_somebody_asks(network, images):
    question = GetRequest(b"debian", Method.MULTICAST, only_asks=True).encode()
    with mastering(network, images, *ANYBODY) as master, contextlib.ExitStack() as stack:
        connection = socket.create_connection((network.server, PORT), 20)
        stack.enter_context(connection)
        connection.sendall(question)
        assert len(connection.recv(REPLY_BYTES, socket.MSG_WAITALL)) == REPLY_BYTES
        master.process.terminate()
        assert master.process.wait(8) == 0
    assert master.lines[-1] == "Exiting!"
    assert not [line for line in master.lines if "Traceback" in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_when_it_ends_nothing_is_served_any_more(number, network, images, tmp_path):
    with mastering(network, images, *ANYBODY) as master:
        assert master.ask(0, "-F", "debian", str(tmp_path / "disk"))[0] == 0
        assert master.ask(0, "-X", "ucast", "-F", "debian", str(tmp_path / "disk"))[0] == 0
        for port in (network.port, network.port + 1):
            with pytest.raises(OSError, match="in use"):
                _bind(network.server, port)
        master.process.send_signal(number)
        master.process.wait(20)
        for port in (network.port, network.port + 1):
            _bind(network.server, port)


def _bind(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((address, port))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one directory is needed, not 0"),
        (["{images}"], "either -c FILE says who may have what, or --anybody"),
        (["--anybody", "{images}/none"], "none: no such directory"),
        (["-c", "{images}/none", "{images}"], "No such file or directory"),
        (["--anybody", "-m", "10.0.0.1", "{images}"], "10.0.0.1 and the 31 that follow it"),
        (["--anybody", "-p", "9-5", "{images}"], "option -p: '5' is not a number from 9"),
    ],
)
def test_what_it_cannot_do_is_said_in_its_last_line(words, said, images):
    line = [*program("mfrisbeed"), *(word.format(images=images) for word in words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


def test_where_it_cannot_listen_is_told_by_its_exit_status(network, images):
    for address, status, said in (
        (network.server, 98, "Address already in use"),
        ("192.0.2.1", 255, "Cannot assign requested address"),
    ):
        with socket.create_server((network.server, PORT)):
            line = [*program("mfrisbeed"), "--anybody", "-i", address, str(images)]
            done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=20)
        assert (done.returncode, done.stderr) == (
            status,
            f"Bind to {address}:{PORT} failed: {said}\n",
        )


@contextlib.contextmanager
def pretending(network, answer):
    """Be a master server that answers each question with these bytes, and then closes."""
    with socket.create_server((network.server, PORT)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(272, socket.MSG_WAITALL)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "is no master server: a reply of 0 bytes, not 288"),
        (b"SSH-2.0-".ljust(288), "is no master server: a reply of version b'SSH-'"),
        (GetReply(99).encode(), "refused, for a reason 99"),
        (GetReply(method=7, address="234.5.6.7", port=9).encode(), "makes no sense: method 7"),
        (
            GetReply(method=2, address="10.5.6.7", port=9).encode(),
            "makes no sense: method 2 at 10.",
        ),
        (GetReply(method=1, address="234.5.6.7", port=9).encode(), "makes no sense: method 1"),
        (
            GetReply(method=2, address="234.5.6.7").encode(),
            "makes no sense: method 2 at 234.5.6.7:0",
        ),
    ],
)
def test_a_master_that_makes_no_sense_is_told_so(answer, said, network, tmp_path):
    with pretending(network, answer):
        status, told = Master(network, None).ask(0, "-F", "x", str(tmp_path / "disk"))
    assert status == 255
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "disk").exists()


def test_a_master_that_is_silent_is_given_up(network, tmp_path):
    with socket.create_server((network.server, PORT)):  # its kernel accepts
        started = time.monotonic()
        status, told = Master(network, None).ask(0, "-T", "1", "-F", "x", str(tmp_path / "disk"))
    assert (status, told) == (110, "*** No messages from server after 1 seconds, exiting\n")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-F x disk", "-S MASTER is needed"),
        ("-S 127.0.0.1 -F x -p 9 disk", "-p: the master server says where"),
        ("-S 127.0.0.1 -F x -Q x", "not both"),
        ("-S 127.0.0.1 -Q x disk", "-Q only asks: no disk is needed, not 1"),
        ("-S 127.0.0.1 -F x -X tcp disk", "option -X: 'tcp' is none of ucast, mcast, bcast, any"),
        (f"-S 127.0.0.1 -F {'x' * 256} disk", "the name of an image has 1 to 255 bytes"),
        ("-m 234.5.6.7 -p 9 -B 3 disk", "-B is for who asks a master server"),
    ],
)
def test_what_a_client_cannot_ask(words, said):
    line = [*program("frisbee"), *words.split()]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
