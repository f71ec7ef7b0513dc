"""A host of the network that is no part of a session: stranger.py KIND OWN GROUP PORT SERVER IMAGE.

It says "up" on standard output when it hears the group, begins at the first JOIN that it hears, and
goes on until it is ended. IMAGE is what it would have the others take.
"""

import itertools
import random
import socket
import struct
import sys
import time
from pathlib import Path

KIND, OWN, GROUP, PORT, SERVER, IMAGE = sys.argv[1:]
PORT = int(PORT)
IMAGE = Path(IMAGE).read_bytes()
CHUNKS = len(IMAGE) >> 20
CHANCE = random.Random(5)
TO = (GROUP, PORT)


def sockets():
    hears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    hears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    hears.bind(TO)
    member = socket.inet_aton(GROUP) + socket.inet_aton(OWN)
    hears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    says = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    says.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    says.bind((OWN, PORT))
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for each in (says, raw):
        each.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(OWN))
    return hears, says, raw


HEARS, SAYS, RAW = sockets()


def send(payload, source=OWN):
    """Send to the group, from another's address by a packet made by hand."""
    try:
        if source == OWN:
            SAYS.sendto(payload, TO)
            return
        udp = struct.pack("!HHHH", PORT, PORT, 8 + len(payload), 0) + payload
        ends = socket.inet_aton(source) + socket.inet_aton(GROUP)
        RAW.sendto(
            struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 5, 17, 0) + ends + udp, TO
        )
    except OSError:
        time.sleep(0.001)


def packet(kind, subtype, body, source=OWN):
    return struct.pack("<iii4s", kind, subtype, len(body), socket.inet_aton(source)) + body


def blocks(chunk, source, content=None):
    for block in range(1024):
        at = (chunk << 20) + (block << 10)
        data = CHANCE.randbytes(1024) if content is None else content[at : at + 1024]
        send(packet(1, 3, struct.pack("<ii", chunk, block) + data, source), source)
        if block % 64 == 0:
            time.sleep(0.001)


def reply(size, source=OWN, client=0):
    body = struct.pack("<i", min(size >> 10, 0x7FFFFFFF))
    send(packet(2, 1, body, source), source)
    body = struct.pack("<IiiiQ", client, 1, 1024, 1024, size)
    send(packet(2, 7, body, source), source)


def answer(client, _address):
    """Be the server: of the right size, with other content."""
    reply(len(IMAGE), client=client)
    while True:
        for chunk in range(CHUNKS):
            blocks(chunk, OWN, IMAGE)
            reply(len(IMAGE), client=client)


def forge(_client, _address):
    while True:
        for chunk in range(CHUNKS):
            blocks(chunk, SERVER, IMAGE)


def replay(_client, _address):
    """Once, all of it."""
    for chunk in range(CHUNKS):
        blocks(chunk, SERVER, IMAGE)


def one(_client, _address):
    for _ in range(3):
        blocks(CHUNKS // 2, SERVER, IMAGE)


def garbage(_client, _address):
    while True:
        blocks(CHANCE.randrange(CHUNKS), SERVER)


def sizes(client, _address):
    while True:
        for size in (1 << 60, 1, 1 << 10, len(IMAGE) + (1 << 20), (1 << 31) - 1 << 10):
            for source in (OWN, SERVER):
                reply(size, source, client)


def ask(_client, _address):
    """Ask for what nobody needs, as fast as it goes."""
    while True:
        chunk = CHANCE.randrange(CHUNKS)
        wanted = (CHANCE.getrandbits(1024) | 1).to_bytes(128, "little")
        send(packet(1, 6, struct.pack("<ii", chunk, 1) + wanted))
        send(packet(1, 4, struct.pack("<iii", chunk, 0, 1024)))


def leave(client, address):
    while True:
        for source in (OWN, address):
            send(packet(1, 2, struct.pack("<Ii", client, 1), source), source)
        time.sleep(0.001)


def join(client, _address):
    """As a thousand clients, and as the one that is there."""
    for number in itertools.count():
        send(packet(1, 1, struct.pack("<I", client if number % 100 == 0 else number)))
        send(packet(1, 7, struct.pack("<IiiiQ", number, 0, 0, 0, 0)))


def combined(source):
    """Blocks that are combined, and what they are is not the image's."""
    some = sorted(CHANCE.sample(range(1024), CHANCE.randrange(2, 65)))
    head = struct.pack("<iHH", CHANCE.randrange(CHUNKS), CHANCE.randrange(9), len(some))
    body = head + struct.pack(f"<{len(some)}H", *some) + CHANCE.randbytes(1024)
    send(packet(2, 64, body, source), source)


def combine(_client, _address):
    """Send combined blocks in the server's name, fewer than it sends itself."""
    while True:
        combined(SERVER)
        time.sleep(0.001)


def lack(client, address):
    """Understand parity, at many addresses and that of the client, and lack half of all."""
    hosts = [OWN, address, *(f"10.98.1.{number}" for number in range(1, 255))]
    for number in itertools.count():
        source = hosts[number % len(hosts)]
        name = client if source == address else number
        send(packet(1, 1, struct.pack("<I", name), source) + b"xor\1", source)
        wanted = struct.pack("<ii", CHANCE.randrange(CHUNKS), 1) + CHANCE.randbytes(128)
        send(packet(1, 6, wanted, source) + b"xor\1", source)
        combined(OWN)
        time.sleep(0.002)


def empty(_client, _address):
    """Datagrams without a byte, of its own and in the server's name."""
    while True:
        for source in (OWN, SERVER):
            send(b"", source)


def babble(_client, _address):
    while True:
        numbers = [CHANCE.choice([-1, 0, 1, 2, 3, 7, 1 << 30]) for _ in range(3)]
        head = struct.pack("<iii", *numbers) + CHANCE.choice([OWN, SERVER, GROUP]).encode()[:4]
        send(head + CHANCE.randbytes(CHANCE.randrange(1400)))


def main():
    sys.stdout.write("up\n")
    sys.stdout.flush()
    while True:
        data, (address, _) = HEARS.recvfrom(1 << 16)
        if len(data) >= 20 and struct.unpack_from("<ii", data) in {(1, 1), (1, 7)}:
            globals()[KIND](struct.unpack_from("<I", data, 16)[0], address)
            return


if __name__ == "__main__":
    main()
    HEARS.recvfrom(0)
    sys.stdin.read()
