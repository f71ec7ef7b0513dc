"""A server, clients, and a host that is neither, without a network and on a clock of their own.

The parts are the programs' own, from datagrams to chunks; only sockets, disks and time are not.
"""

import hashlib
import random
import socket
import struct
from types import SimpleNamespace

from rhubarbe.frisbee.errors import MalformedPacket, ServerSilent
from rhubarbe.frisbee.fetching import Fetching
from rhubarbe.frisbee.multicast import Arrival
from rhubarbe.frisbee.packets import (
    BLOCK_SIZE,
    CHUNK_SIZE,
    Ask,
    AskPart,
    Join,
    Joined,
    Joined2,
    Leave,
    Parity,
    decode,
    encode,
    marked,
)
from rhubarbe.frisbee.parity import ParityTrain, exclusive_or
from rhubarbe.frisbee.report import LineReport
from rhubarbe.frisbee.sending import Sender
from rhubarbe.frisbee.trains import BlockPackets
from rhubarbe.frisbee.tuning import Tuning

SERVER, ROGUE, GROUP, PORT = "10.0.0.1", "10.0.0.66", "239.1.1.1", 10001
STEP = 0.002
TRAIN = 62
CHUNKS = 3
IMAGE = b"".join(random.Random(n).randbytes(1 << 16) * 16 for n in range(CHUNKS))
FORGED = b"".join(random.Random(-n).randbytes(1 << 16) * 16 for n in range(1, CHUNKS + 1))
DIGESTS = [hashlib.blake2b(IMAGE[n << 20 : n + 1 << 20]).digest() for n in range(CHUNKS)]


class Disk:
    """Takes a chunk some time later, if it is the one that it should be."""

    def __init__(self):
        self.taken = {}
        self._waiting = []

    def submit(self, index, chunk):
        self._waiting.append((index, chunk))

    def check(self):
        pass

    def work(self, fetching):
        """Look at all that waits."""
        while self._waiting:
            index, chunk = self._waiting.pop(0)
            if hashlib.blake2b(chunk).digest() == DIGESTS[index]:
                assert index not in self.taken
                self.taken[index] = bytes(chunk)
                fetching.chunk_done(index, CHUNK_SIZE, ".")
            else:
                fetching.chunk_rejected(index)


class Host:
    """A client with its disk; ``ended`` is "right", or what it gave up with."""

    def __init__(self, number, world, server):
        self.address = f"10.0.0.{number + 2}"
        self.ended = ""
        self.disk = Disk()
        channel = SimpleNamespace(
            port=PORT,
            source=socket.inet_aton(self.address),
            session=SimpleNamespace(group=GROUP, interface=self.address),
            deaf_to=lambda _: None,
        )
        self.fetching = Fetching(
            channel,
            Tuning(silence=world.silence, buffers=4, ends_first=True),
            LineReport(world.sink, 0.0),
            server=server,
            chunks=CHUNKS,
            quiet=True,
        )
        self.fetching._disk = self.disk
        self.start = self.fetching._start


class World:
    """One run; ``told`` says what the rogue may do, and until when it does it."""

    silence = 2.0

    def __init__(self, seed, sink, *, clients=2, is_told_server=True, spoofs=True, until=None):
        self.chance = random.Random(seed)
        self.sink = sink
        self.now = 0.0
        self.spoofs, self.until = spoofs, until
        self.sender = Sender(len(IMAGE), 0.0)
        self.packets = {
            address: BlockPackets(socket.inet_aton(address)) for address in (SERVER, ROGUE)
        }
        server = SERVER if is_told_server else ""
        self.hosts = [Host(number, self, server) for number in range(clients)]
        self.habits = self.chance.sample(HABITS, self.chance.randint(1, 4))
        self.zeal = self.chance.choice([0.01, 0.1, 1.0])
        self.pace = self.chance.choice([15, TRAIN])

    def run(self, limit):
        """Go on until all clients have ended."""
        try:
            while any(not host.ended for host in self.hosts):
                assert self.now < limit, [host.ended for host in self.hosts]
                self._step()
        finally:
            for host in self.hosts:
                host.fetching.__exit__()
        return self

    def _step(self):
        self.now += STEP
        for host in self.hosts:
            if not host.ended:
                self._drive(host)
        train = self.sender.next_train(self.pace, self.now)
        if isinstance(train, ParityTrain):
            self.combined(train)
        elif train:
            self.blocks(SERVER, IMAGE, train.chunk, train.blocks)
        is_over = self.until is not None and self.now > self.until
        if not is_over and self.chance.random() < self.zeal:
            self.chance.choice(self.habits)(self)

    def _drive(self, host):
        fetching, now = host.fetching, host.start + self.now
        host.disk.work(fetching)
        fetching._recover_buffers(now)
        if fetching.receiver.finished:
            leave = encode(Leave(fetching.id, 1), socket.inet_aton(host.address))
            self.send(host.address, leave)
            host.ended = "right"
            return
        try:
            packets = fetching.receiver.poll(now)
        except ServerSilent as error:
            host.ended = type(error).__name__
            return
        for packet in packets:
            self.send(host.address, encode(marked(packet), socket.inet_aton(host.address)))

    # -- the wire --------------------------------------------------------------------------------

    def send(self, address, datagram):
        """Bring a datagram to the server and to the clients."""
        if address != SERVER:
            try:
                packet, source = decode(datagram)
                if socket.inet_ntoa(source) == address:
                    reply = self.sender.receive(packet, address, self.now)
                    if reply:
                        self.send(SERVER, encode(reply, socket.inet_aton(SERVER)))
            except MalformedPacket:
                pass
        self.arrive(address, datagram, max(1, len(datagram)))

    def blocks(self, address, image, chunk, blocks):
        """Multicast blocks of an image."""
        packets = self.packets[address]
        packets.choose(chunk)
        for block in blocks:
            at = chunk * CHUNK_SIZE + block * BLOCK_SIZE
            packets.data[block][:] = image[at : at + BLOCK_SIZE]
        self.arrive(address, b"".join(packets.runs(blocks)), 1048)

    def combined(self, train):
        """Multicast combined blocks of the image."""
        starts = {block: train.chunk * CHUNK_SIZE + block * BLOCK_SIZE for block in range(1024)}
        for number, blocks in enumerate(train.packets, 1):
            data = exclusive_or(IMAGE[starts[each] : starts[each] + BLOCK_SIZE] for each in blocks)
            left = train.left + len(train.packets) - number
            self.send(
                SERVER, encode(Parity(train.chunk, left, blocks, data), socket.inet_aton(SERVER))
            )

    def arrive(self, address, data, segment):
        """Bring datagrams to the clients, some of which lose them."""
        for host in self.hosts:
            if not host.ended and host.address != address and self.chance.random() > 0.01:
                view = memoryview(bytearray(data))
                arrival = Arrival(view, segment, address, PORT)
                host.fetching.intake.take(arrival, host.start + self.now)

    # -- what the rogue does ---------------------------------------------------------------------

    @property
    def mask(self):
        """The address that the rogue shows."""
        return SERVER if self.spoofs and self.chance.random() < 0.7 else ROGUE

    def forge_blocks(self):
        first = self.chance.randrange(1024)
        blocks = range(first, min(1024, first + self.chance.choice([1, 5, TRAIN])))
        self.blocks(self.mask, FORGED, self.chance.randrange(CHUNKS), blocks)

    def forge_chunk(self):
        chunk, address = self.chance.randrange(CHUNKS), self.mask
        for first in range(0, 1024, TRAIN):
            self.blocks(address, FORGED, chunk, range(first, min(1024, first + TRAIN)))

    def forge_combined(self):
        blocks = sorted(self.chance.sample(range(1024), self.chance.randint(2, 64)))
        data, address = self.chance.randbytes(BLOCK_SIZE), self.mask
        packet = Parity(self.chance.randrange(CHUNKS + 1), 0, tuple(blocks), data)
        self.send(address, encode(packet, socket.inet_aton(address)))

    def reply(self):
        size = self.chance.choice([1, CHUNKS * 1024, 1024, -1, 0x7FFFFFFF])
        address = self.mask
        self.send(address, encode(Joined(size), socket.inet_aton(address)))
        reply = Joined2(
            self.chance.choice(self.hosts).fetching.id, size=self.chance.choice([1, 1 << 60])
        )
        self.send(address, encode(reply, socket.inet_aton(address)))

    def ask(self):
        chunk = self.chance.randrange(CHUNKS)
        for _ in range(20):
            packet = AskPart(chunk, 1, self.chance.getrandbits(1024) | 1)
            self.send(ROGUE, encode(packet, socket.inet_aton(ROGUE)))
        self.send(ROGUE, encode(Ask(chunk), socket.inet_aton(ROGUE)))

    def leave(self):
        host = self.chance.choice(self.hosts)
        address = host.address if self.spoofs else ROGUE
        for source in (address, ROGUE):
            self.send(source, encode(Leave(host.fetching.id, 3), socket.inet_aton(source)))

    def join(self):
        for _ in range(50):
            self.send(ROGUE, encode(Join(self.chance.getrandbits(31)), socket.inet_aton(ROGUE)))
        self.send(ROGUE, encode(Join(self.hosts[0].fetching.id), socket.inet_aton(ROGUE)))

    def babble(self):
        numbers = [self.chance.randint(-3, 9) for _ in range(3)]
        body = self.chance.randbytes(self.chance.randrange(1100))
        self.send(self.mask, b"")
        self.send(ROGUE, struct.pack("<iii4s", *numbers, socket.inet_aton(ROGUE)) + body)


HABITS = [
    World.forge_blocks,
    World.forge_chunk,
    World.forge_combined,
    World.reply,
    World.ask,
    World.leave,
    World.join,
    World.babble,
]
