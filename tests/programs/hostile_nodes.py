"""Nodes that are strangers: a power card, a telnet or ssh server each, which say what they like.

Each is threads of this process at two loopback addresses. Its card does as it is told, unless it is
what is hostile; its shell is there once it was reset, and plays a ramdisk up to where it attacks.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import threading

import asyncssh

PIECE = 1 << 16
BEGIN = b"RHUBARBE-BEGIN\r\n"
STATUS = b"RHUBARBE-STATUS="
DISKS = (
    b"RHUBARBE-DISKS=root /n\r\n-rw-r--r-- 1 root root 100663296 Jan  1 00:00 ./dev/sda\r\n"
    b"RHUBARBE-DISKS=mounts\r\nRHUBARBE-DISKS=dev\r\nRHUBARBE-DISKS=block\r\nRHUBARBE-DISKS=sys\r\n"
)
IAC, SB, SE, WILL, DO = 255, 250, 240, 251, 253
ECHO, TTYPE, MCCP2 = 1, 24, 86


def endless(*pieces):
    """Say the same for ever."""
    whole = b"".join(pieces)
    return itertools.repeat(whole * max(1, PIECE // len(whole)))


def drip(text):
    """Say a byte now and then, for ever."""
    return (bytes([byte]) for byte in itertools.cycle(text))


def numbers():
    for number in (b"9" * 30, b"-5", b"nan", b"9" * 4000, b"1e999"):
        yield b"File is " + number + b" chunks\r\n" + b"Progress: " + number + b"% 1 2\r\n"
        yield b"File is 5 chunks\r\n" + b"." * 67 + b" " + number + b" " + number + b"\r\n"
        yield b"Verified " + number + b" bytes\r\n" + STATUS + number + b"\r\n"
    yield from endless(b"Progress: 1%\r\nProgress: 99%\r\n")


ESCAPES = (
    b"\x1b[2J\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x9b31m\x1bP+q\x1b\\ \xe2\x80\xae\x00\x08\x0c"
    b"\xc2\x9d0;owned\xc2\x9c \x1b[6n\x1b[?1049h\r"
)

# What is said, where: at once when a connection was made; for an answer to anything; to the order
# to write an image.
AT_ONCE = {
    "flood of lines": lambda: endless(b"line\r\n"),
    "flood of empty lines": lambda: endless(b"\n"),
    "line without end": lambda: endless(b"x"),
    "IAC storm": lambda: endless(bytes([IAC, WILL, ECHO, IAC, DO, TTYPE])),
    "option without end": lambda: itertools.chain([bytes([IAC, SB, TTYPE])], endless(b"a")),
    "options nobody knows": lambda: endless(bytes([IAC, WILL, 200, IAC, DO, 201])),
    "forced compression": lambda: itertools.chain(
        [bytes([IAC, SB, MCCP2, IAC, SE])], endless(b"\x78\x9c\x00")
    ),
    "a byte a second": lambda: drip(BEGIN),
    "nothing": lambda: iter(()),
    "zeros": lambda: endless(b"\0"),
    "unfinished C1 strings": lambda: endless("\x9d".encode() * 1999 + b"\n"),
}
TO_ANYTHING = {
    "status of 4000 digits": lambda: iter([BEGIN + STATUS + b"0" * 4000 + b"\r\n"]),
    "disks without end": lambda: itertools.chain(
        [BEGIN + b"RHUBARBE-DISKS=sys\r\n"], endless(b"sda/size:" + b"9" * 400 + b"\r\n")
    ),
    "disks of odd sizes": lambda: itertools.chain(
        [BEGIN + b"RHUBARBE-DISKS=dev\r\nbrw-rw---- 1 root disk 8, 99999999999999999999 x sda\r\n"],
        [b"RHUBARBE-DISKS=sys\r\nsda/size:-1\r\nsda/dev:" + b"9" * 400 + b":1\r\n"],
        [STATUS + b"0\r\n"],
    ),
}
TO_THE_IMAGE = {
    "a gigabyte of lines": lambda: endless(b"writing, writing, writing\r\n"),
    "a gigabyte in one line": lambda: endless(b"."),
    "lines of dots": lambda: endless(b"..........\r\n"),
    "numbers": numbers,
    "escapes": lambda: itertools.chain(itertools.repeat(ESCAPES, 2000), [STATUS + b"1\r\n"]),
    "a success that was none": lambda: iter([STATUS + b"0\r\n"]),
    "not UTF-8": lambda: endless(b"\xff\xfe\xc3\r\n"),
    "progress a byte a second": lambda: drip(b"."),
}
TELNET = AT_ONCE | TO_ANYTHING | TO_THE_IMAGE
OK = b"HTTP/1.1 200 OK\r\n"
CARDS = {
    "card: a byte a second": lambda: drip(OK),
    "card: body without end": lambda: itertools.chain([OK + b"\r\n"], endless(b"on\n")),
    "card: head without end": lambda: itertools.chain([OK], endless(b"X-Header: on\r\n")),
    "card: chunks of a byte": lambda: itertools.chain(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"], endless(b"1\r\no\r\n")
    ),
    "card: compressed": lambda: iter(
        [OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\0"]
    ),
    "card: to itself": lambda: iter([b"HTTP/1.1 302 Found\r\nLocation: /status\r\n\r\n"]),
    "card: escapes": lambda: iter([OK + b"\r\n" + ESCAPES]),
    "card: a length of 10**30": lambda: iter([OK + b"Content-Length: 1%s\r\n\r\non" % (b"0" * 30)]),
}
VERSION = b"SSH-2.0-OpenSSH_9.2\r\n"
SSH = {
    "ssh: lines before the version": lambda: endless(b"not yet\r\n"),
    "ssh: line without end": lambda: endless(b"x"),
    "ssh: a byte a second": lambda: drip(b"SSH-2.0-Open"),
    "ssh: nothing": lambda: iter(()),
    "ssh: a packet of 2 GB": lambda: itertools.chain(
        [VERSION + struct.pack(">IB", 0x7FFFFFFF, 4)], endless(b"y")
    ),
    "ssh: noise": lambda: itertools.chain([VERSION], (os.urandom(999) for _ in range(9999))),
    "ssh: ignored packets": lambda: itertools.chain(
        [VERSION], endless(struct.pack(">IBBI", 12, 4, 2, 2) + b"xx" + bytes(4))
    ),
}


class HostileNode:
    """One node; `said` counts the bytes that somebody took of it."""

    def __init__(self, number, kind, ports, network):
        self.number = number
        self.kind = kind
        self.said = 0
        self._ports = ports
        self.ip, self.card_ip = f"{network}.1.{number}", f"{network}.2.{number}"
        self._sockets = []
        self._stopped = threading.Event()
        self._shell = None

    @property
    def entry(self):
        mac = f"02:AB:EE:00:00:{self.number:02X}"
        return {
            "cmc": {"hostname": f"reboot{self.number}", "ip": self.card_ip, "mac": ""},
            "control": {"hostname": f"fit{self.number}", "ip": self.ip, "mac": mac},
        }

    def start(self):
        self._listen(self.card_ip, self._ports["cmc"], self._card)
        if self.kind in SSH:
            self._listen(self.ip, self._ports["ssh"], self._say_at_once)

    def stop(self):
        self._stopped.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self, ip, port, serve):
        listener = socket.create_server((ip, port), backlog=64)
        self._sockets.append(listener)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    self._sockets.append(connection)
                    threading.Thread(target=served, args=[connection], daemon=True).start()

        def served(connection):
            with connection, contextlib.suppress(OSError):
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()

    def _card(self, connection):
        request = connection.recv(4096).split(b" ")
        if not request[1:]:  # whoever asked has given up
            return
        verb = request[1].decode()
        if self.kind in CARDS:
            self._say(connection, CARDS[self.kind]())
        elif verb == "/status":
            connection.sendall(OK + b"\r\non\n")
        else:
            if self._shell is None:
                self._shell = self._ports["telnet"]
                self._listen(self.ip, self._shell, self._telnet)
            connection.sendall(OK + b"\r\nok\n")

    def _say_at_once(self, connection):
        self._say(connection, SSH[self.kind]())
        self._stopped.wait(60)

    def _telnet(self, connection):
        if self.kind in AT_ONCE:
            self._say(connection, AT_ONCE[self.kind]())
            self._stopped.wait(60)
            return
        typed = b""
        while b"exit\n" not in typed and b'eval "$typed"' not in typed:
            piece = connection.recv(PIECE)
            if not piece:
                return
            typed += piece
        connection.sendall(BEGIN)
        is_look = b"; true; echo" in typed
        if self.kind in TO_ANYTHING and not is_look:
            self._say(connection, TO_ANYTHING[self.kind]())
        elif self.kind in TO_THE_IMAGE and b"frisbee" in typed:
            self._say(connection, TO_THE_IMAGE[self.kind]())
        else:
            connection.sendall(DISKS + STATUS + b"0\r\n")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(PIECE)

    def _say(self, connection, pieces):
        for piece in pieces:
            connection.sendall(piece)
            self.said += len(piece)
            if len(piece) == 1:
                self._stopped.wait(1)
            if self._stopped.is_set() or self.said > 1 << 30:
                return


class HostileServer(asyncssh.SSHServer):
    """Lets anybody in; with `banners`, says so at length."""

    def __init__(self, banners):
        self._banners = banners

    def connection_made(self, conn):
        self._connection = conn

    def begin_auth(self, username):
        for _ in range(self._banners):
            self._connection.send_auth_banner("x" * 30_000 + "\x1b[2J\n")
        return False


async def _flood(process):
    with contextlib.suppress(OSError, asyncssh.Error):
        while True:
            process.stdout.write("y" * PIECE)
            process.stderr.write("\x1b[2J" * 1000)
            await process.stdout.drain()


@contextlib.contextmanager
def ssh_server(ip, port, *, banners=0):
    """Serve ssh in a thread, and answer any command without end."""
    loop = asyncio.new_event_loop()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def serve():
        return await asyncssh.listen(
            ip,
            port,
            server_host_keys=[key],
            server_factory=lambda: HostileServer(banners),
            process_factory=_flood,
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(20)
    try:
        yield

        async def end():
            server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
            await asyncio.sleep(0.1)

        asyncio.run_coroutine_threadsafe(end(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
