"""A third host on the network of a load, that would have its own image on the disks of the nodes.

    rogue.py MODE ADDRESS GROUP PORT IMAGE SERVER SEED

It waits for its interface, joins the group, and begins once somebody asks for blocks or joins:
`blocks` of its image in the name of the server, for as long as it lives; `few`, only some chunks of
them, early; `garbage`, the same with random bytes; `replay`, from its own address; `answers` JOINs
as if it were the server, and serves its image; `wild`, all of these by turns, by a seed.
"""

import itertools
import random
import socket
import struct
import sys
import threading
import time
from pathlib import Path

BLOCK, CHUNK = 1024, 1 << 20
REQUEST, REPLY = 1, 2
JOIN, BLOCKS, JOIN2 = 1, 3, 7
HEAD = struct.Struct("<iii4s")
PAUSE = 0.02  # some 50 MB/s: it forges, but does not only flood


class Rogue:
    """Sends what it likes, from its own address or in the name of another."""

    def __init__(self, address, group, port, image, server):
        self.address, self.place, self.image = address, (group, port), image
        self.server = server
        own = socket.inet_aton(address)
        self.hears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.hears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.hears.bind(self.place)
        joined = socket.inet_aton(group) + own
        self.hears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        self.plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.plain.bind((address, port))
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for each in (self.plain, self.raw):
            each.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            each.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 5)

    def send(self, kind, subkind, body, *, forged):
        source = socket.inet_aton(self.server if forged else self.address)
        payload = HEAD.pack(kind, subkind, len(body), source) + body
        try:
            if not forged:
                self.plain.sendto(payload, self.place)
                return
            port = self.place[1]
            datagram = struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload
            length, group = 20 + len(datagram), socket.inet_aton(self.place[0])
            head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 5, 17, 0, source, group)
            self.raw.sendto(head + datagram, self.place)
        except OSError:
            time.sleep(PAUSE)

    def chunk(self, chunk, *, forged, garbage=False):
        for block in range(CHUNK // BLOCK):
            at = chunk * CHUNK + block * BLOCK
            data = random.randbytes(BLOCK) if garbage else self.image[at : at + BLOCK]
            self.send(REQUEST, BLOCKS, struct.pack("<ii", chunk, block) + data, forged=forged)

    def serve(self, *, forged, garbage=False, rounds=None):
        for _ in itertools.count() if rounds is None else range(rounds):
            for chunk in range(len(self.image) // CHUNK):
                self.chunk(chunk, forged=forged, garbage=garbage)
                time.sleep(PAUSE)

    def answer(self, client, subkind, *, forged):
        size = len(self.image)
        body = struct.pack("<Iiii", client, size // BLOCK, CHUNK // BLOCK, BLOCK)
        for _ in range(3):
            self.send(REPLY, subkind, body + struct.pack("<Q", size), forged=forged)

    def heard(self):
        """Yield what others ask: kind of request and the client's number."""
        while True:
            data, (source, _) = self.hears.recvfrom(65536)
            if len(data) >= HEAD.size and source not in (self.address, self.server):
                kind, subkind = struct.unpack_from("<ii", data)
                if kind == REQUEST:
                    yield subkind, struct.unpack_from("<I", data.ljust(20, b"\0"), 16)[0]


def few(rogue, rng):
    time.sleep(rng.random() / 5)
    for _ in range(3):
        for chunk in rng.sample(range(len(rogue.image) // CHUNK), 2):
            rogue.chunk(chunk, forged=True)


def wild(rogue, rng):
    while True:
        doing = rng.choice(["blocks", "garbage", "replay", "few", "wait"])
        if doing == "few":
            few(rogue, rng)
        elif doing == "wait":
            time.sleep(rng.random() / 2)
        else:
            rogue.serve(forged=doing != "replay", garbage=doing == "garbage", rounds=1)


WAYS = {
    "blocks": lambda rogue, _: rogue.serve(forged=True),
    "garbage": lambda rogue, _: rogue.serve(forged=True, garbage=True),
    "replay": lambda rogue, _: rogue.serve(forged=False),
    "answers": lambda rogue, _: rogue.serve(forged=False),
    "few": few,
    "wild": wild,
}


def say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(words):
    mode, address, group, port, image, server, seed = words
    say("here")
    while True:  # until it is plugged in
        try:
            rogue = Rogue(address, group, int(port), Path(image).read_bytes(), server)
            break
        except OSError:
            time.sleep(0.02)
    say("up")
    rng, begun = random.Random(seed), False
    for subkind, client in rogue.heard():
        if subkind in (JOIN, JOIN2) and mode in ("answers", "wild"):
            rogue.answer(client, subkind, forged=mode == "wild" and rng.random() < 0.5)
        if not begun:
            begun = True
            threading.Thread(target=WAYS[mode], args=(rogue, rng), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
