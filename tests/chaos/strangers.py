"""Who else is on a gateway and its network while commands run: a hostile user, and a hostile host.

    python strangers.py user DIRECTORY SEED
    python strangers.py host DIRECTORY SEED

Both do whatever comes to their minds, as the seed has it, until SIGTERM ends them; then they print
how often they did what. The user has no more
rights than any other, and all the time in the world; it lays things where users share directories,
swaps them, and takes the names of locks. The host hears all that is on the network (here it reads
/proc/net), writes into the frisbee session, in its own name and in those of others, and connects to
whatever listens on the gateway. It does not log in on nodes, nor speak to power cards: whoever can
needs no tricks. Run it in a network namespace of its own: it spares nobody.
"""

import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from rhubarbe.frisbee import packets
from rhubarbe.shared.claims import make_claim
from rhubarbe.shared.state import StateDirectory

ALICE = 4001
SECRET = "precious"
NODES = range(1, 4)
ITS_ADDRESS = "127.66.6.6"
BURST = 40
MOST_HELD = 20
# How likely she holds a lock rather than to ask for it: else nobody would get anything done.
HOLDS = 0.02


def main():
    kind, directory, seed = sys.argv[1:]
    signal.signal(signal.SIGTERM, _stop)
    stranger = {"user": User, "host": Host}[kind](Path(directory), random.Random(f"{kind} {seed}"))
    with contextlib.suppress(SystemExit):
        print("there", flush=True)
        stranger.run()
    json.dump(stranger.done, sys.stdout)


def _stop(*_):
    raise SystemExit


# -- the user


def _pipe(path, _):
    os.mkfifo(path)


def _bind(path, _):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _huge(path, _):
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def _closed_to_all(path, _):
    path.write_text("x")
    path.chmod(0)


def _link_note(path, user):
    """Note as her own a link that is root's, left behind long ago."""
    node = path.name.partition(".")[2]
    links = [*(user.top / "pxelinux.cfg").glob("01-*")]
    note = {
        "node": node,
        "path": str(links[0] if links else user.canary),
        "target": "pxefrisbee",
        "user": "root",
        "command": "load",
        "pid": 1,
        "start": "0",
        "boot": "another",
        "since": 0.0,
        "expires": 0.0,
    }
    path.write_text(json.dumps(note))


KINDS = {
    "link": lambda path, user: path.symlink_to(user.canary),
    "dangling link": lambda path, user: path.symlink_to(user.top / "nothing"),
    "link to itself": lambda path, _: path.symlink_to(path),
    "link to a device": lambda path, _: path.symlink_to("/dev/zero"),
    "link to a directory": lambda path, user: path.symlink_to(user.canary.parent),
    "second name": lambda path, user: path.hardlink_to(user.canary),
    "pipe": _pipe,
    "directory": lambda path, _: path.mkdir(),
    "socket": _bind,
    "brackets": lambda path, _: path.write_bytes(b"[" * 60_000),
    "huge": _huge,
    "closed to all": _closed_to_all,
    "open to all": lambda path, _: (path.write_text("{}"), path.chmod(0o666)),
    "note of a link": _link_note,
}


class User:
    """Works as ALICE from its first deed on."""

    def __init__(self, top, choose):
        self.done = Counter()
        self.top = top
        self.canary = top / "canaries" / "secret"
        self._choose = choose
        self._held = []
        state = top / "state"
        self._key = StateDirectory(state).key()
        hers = state / str(ALICE)
        hers.mkdir(exist_ok=True)
        os.chown(hers, ALICE, ALICE)
        here, images = top / "here", top / "images"
        self._places = [
            *(hers / name for name in ("history.sqlite", "leases.sqlite", ".history.lock")),
            *(hers / f"link.fit{number:02}" for number in NODES),
            *(state / name for name in ("0", "0.0123456789abcdef", "4001.x", "locks", "history")),
            *(here / f"saved-{rank}.ndz{end}" for rank in range(3) for end in ("", ".partial")),
            *(here / name for name in ("rhubarbe.log", "default", "default.ndz", ".draft")),
            *(images / name for name in ("hers.ndz", "default.ndz.partial", "sample.ndz.partial")),
        ]

    def run(self):
        os.setgroups([])
        os.setresgid(ALICE, ALICE, ALICE)
        os.setresuid(ALICE, ALICE, ALICE)
        deeds = (self._lay, self._lay, self._swap, self._swap, self._take_away, self._take_a_lock)
        while True:
            deed = self._choose.choice(deeds)
            with contextlib.suppress(OSError):
                deed()
                self.done[deed.__name__] += 1
            time.sleep(self._choose.uniform(0, 0.02))

    def _lay(self):
        KINDS[self._choose.choice(list(KINDS))](self._choose.choice(self._places), self)

    def _swap(self):
        """Put something else in the place of what is there, at once."""
        place = self._choose.choice(self._places)
        draft = place.with_name(f".hers-{self._choose.randrange(1 << 30)}")
        try:
            KINDS[self._choose.choice(list(KINDS))](draft, self)
            draft.replace(place)
        finally:
            _remove(draft)

    def _take_away(self):
        _remove(self._choose.choice(self._places))

    def _take_a_lock(self):
        """Hold the lock of a node for some moments, and hang on those of others."""
        for each in self._held:
            each.close()
        self._held.clear()
        node = f"node/fit{self._choose.choice(NODES):02}"
        claim = make_claim(self._key, node) if self._choose.random() < HOLDS else None
        if claim is not None:
            self._held.append(claim)
            return
        asker = socket.socket(socket.AF_UNIX)
        self._held.append(asker)
        asker.settimeout(0)
        asker.connect(f"\0rhubarbe/{self._key}/{node}".encode())


def _remove(path):
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


# -- the host


class Host:
    """Another host on the control network."""

    def __init__(self, top, choose):
        self.done = Counter()
        self._choose = choose
        inventory = json.loads((top / "inventory.json").read_text())
        self._nodes = [entry["control"]["ip"] for entry in inventory]
        self._cards = {entry["cmc"]["ip"] for entry in inventory}
        self._own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._own.bind((ITS_ADDRESS, 0))
        self._own.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ITS_ADDRESS)
        )
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._raw.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ITS_ADDRESS)
        )
        self._forges_the_server = _clients_prove_what_they_get()
        self._held = []

    def run(self):
        while True:
            with contextlib.suppress(OSError):
                self._disturb_a_session()
            with contextlib.suppress(OSError):
                self._connect()
            time.sleep(self._choose.uniform(0.01, 0.1))

    def _disturb_a_session(self):
        bound = _bound("udp")
        groups = [(ip, port) for ip, port in bound if 224 <= int(ip.partition(".")[0]) < 240]
        if not groups:
            return
        group, port = self._choose.choice(groups)
        servers = [ip for ip, other in bound if other == port and ip not in (*self._nodes, group)]
        server = servers[0] if servers else ITS_ADDRESS
        sources = [ITS_ADDRESS, *self._nodes]
        if self._forges_the_server:
            sources.append(server)
        targets = [group, server, *self._nodes]
        for _ in range(self._choose.randrange(BURST)):
            source = self._choose.choice(sources)
            content = self._packet(source)
            self._send(content, source, (self._choose.choice(targets), port))
            self.done["packets"] += 1

    def _packet(self, source):
        choose = self._choose
        chunk, block, client = choose.randrange(8), choose.randrange(1024), choose.getrandbits(32)
        kind = choose.choice(("block", "block", "join", "reply", "ask", "part", "leave", "noise"))
        if kind == "noise":
            return choose.randbytes(choose.randrange(1400))
        packet = {
            "block": lambda: packets.Block(chunk, block, choose.randbytes(1024)),
            "join": lambda: packets.Join2(client),
            "reply": lambda: packets.Joined2(client, block, 1024, 1024, choose.getrandbits(40)),
            "ask": lambda: packets.Ask(chunk, 0, 1024),
            "part": lambda: packets.AskPart(chunk, 1, choose.getrandbits(1024)),
            "leave": lambda: packets.Leave(client, 1),
        }[kind]()
        content = bytearray(packets.encode(packet, socket.inet_aton(source)))
        if choose.random() < 0.1:
            content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        return bytes(content)

    def _send(self, content, source, target):
        if source == ITS_ADDRESS:
            self._own.sendto(content, target)
            return
        length = len(content) + 8
        udp = struct.pack(">HHHH", target[1], target[1], length, 0)  # 0: without a checksum
        ip = struct.pack(
            ">BBHHHBBH4s4s",
            *(0x45, 0, 20 + length, self._choose.getrandbits(16), 0, 5, socket.IPPROTO_UDP, 0),
            *(socket.inet_aton(source), socket.inet_aton(target[0])),
        )
        self._raw.sendto(ip + udp + content, (target[0], 0))

    def _connect(self):
        """Connect to something of the gateway's; say nothing, nonsense, or hang up."""
        others = {*self._nodes, *self._cards}
        places = [
            place for place in _bound("tcp", listening=True) if place[0] not in others and place[1]
        ]
        if not places or len(self._held) > MOST_HELD:
            for each in self._held:
                each.close()
            self._held.clear()
            return
        connection = socket.socket()
        self._held.append(connection)
        connection.settimeout(0.05)
        connection.bind((ITS_ADDRESS, 0))
        connection.connect(self._choose.choice(places))
        self.done["connections"] += 1
        words = (b"", b"GET /announce?" + b"a" * 9000, self._choose.randbytes(2000), b"\0" * 1500)
        connection.sendall(self._choose.choice(words))
        if self._choose.random() < 0.5:
            self._held.pop().close()


def _bound(protocol, *, listening=False):
    """Return address and port of each socket of this network namespace."""
    found = []
    for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
        fields = line.split()
        if not listening or fields[3] == "0A":
            ip, _, port = fields[1].partition(":")
            found.append((socket.inet_ntoa(bytes.fromhex(ip)[::-1]), int(port, 16)))
    return found


def _clients_prove_what_they_get():
    """Tell whether what the server sends needs not be believed: else forging it does harm."""
    told = subprocess.run(
        ["rhubarbe-frisbee", "--help"], capture_output=True, text=True, check=False
    )
    return "--manifest" in told.stdout


if __name__ == "__main__":
    main()
