#!/usr/bin/env python3
"""Frisbee without a network: the state machines of server and clients on a virtual clock.

Usage: simulate.py [CLIENTS [CHUNKS]]. Prints for each setting the time against the ideal (image
by bandwidth), how many times the image was sent, how that compares to the least possible where
losses are independent, and the spread between the clients' ends.

The least: without coding a block is sent again while any of n clients lacks it. With a share p lost
by each, it is sent more than k times with the chance 1 - (1 - p^k)^n, so on average

    least(n, p) = sum over k >= 0 of 1 - (1 - p^k)^n times.
"""

import argparse
import heapq
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from rhubarbe.frisbee.pacing import BITS_PER_BLOCK, Pacer
from rhubarbe.frisbee.packets import (
    BLOCKS_PER_CHUNK,
    CHUNK_SIZE,
    Ask,
    AskPart,
    Leave,
    Packet,
    marked,
)
from rhubarbe.frisbee.parity import ParityTrain, numbers
from rhubarbe.frisbee.receiving import Receiver
from rhubarbe.frisbee.sending import Sender
from rhubarbe.frisbee.tuning import Tuning

LATENCY = 0.0005
QUIET = 0.02
LONGEST_TRAIN = 62
PATIENCE = 0.5
"""Seconds for which a receive buffer holds what a busy machine has not looked at."""


def least(clients: int, loss: float) -> float:
    """Return how often a block is sent at least, without coding, until all clients have it.

    It is sent more than ``k`` times when any of them lost it ``k`` times, independently of others.
    """
    return sum(1 - (1 - loss**k) ** clients for k in range(64))


class Loss:
    """Blocks lost at random, each by itself or in bursts of ``burst``; ``rate`` is their share."""

    def __init__(self, rate: float, burst: int, seed: int) -> None:
        self.rate, self.burst = rate / burst, burst
        self.random = random.Random(seed)
        self.last = 0.0
        self.left = self._gap()

    def _gap(self) -> int:
        if not self.rate:
            return 1 << 60
        return int(self.random.expovariate(self.rate))

    def surviving(self, blocks: Sequence[int], wanted: int, now: float) -> int:
        """Return what is left of the map ``wanted`` of ``blocks``, a sequence.

        A burst is over when the wire was quiet for a while.
        """
        count = len(blocks)
        if self.left <= 0 and now - self.last > QUIET:
            self.left = self._gap()
        self.last = now
        if self.left >= count:
            self.left -= count
            return wanted
        at = 0
        while at < count:
            if self.left > 0:
                step = min(self.left, count - at)
                self.left -= step
                at += step
                continue
            wanted &= ~(1 << blocks[at])
            at += 1
            self.left -= 1
            if self.left <= -self.burst:
                self.left = self._gap()
        return wanted


@dataclass(frozen=True)
class Busy:
    """A machine that has other work: programs are held up, and what arrives waits meanwhile.

    Each runs for ``runs`` seconds on average, then another does for ``waits``. To take a block
    costs a client ``taking`` seconds; it has room for so many ``blocks`` that wait to be taken.
    """

    runs: float = 0.02
    waits: float = 0.02
    taking: float = 2e-6
    blocks: int = 14_000
    batch: int = 1024
    server: bool = True  # is held up, too


class Schedule:
    """When a program on a busy machine runs."""

    def __init__(self, busy: Busy, seed: int) -> None:
        self.busy = busy
        self.random = random.Random(seed)
        self.from_, self.until = 0.0, self.random.expovariate(1 / busy.runs)

    def runs_at(self, when: float) -> float:
        """Return when it gets to what is to be done from a time on; times never go back."""
        while when >= self.until:
            self.from_ = self.until + self.random.expovariate(1 / self.busy.waits)
            self.until = self.from_ + self.random.expovariate(1 / self.busy.runs)
        return max(when, self.from_)


@dataclass
class Setting:
    """One simulation: rates are shares, times seconds, ``disk`` MiB a second (0: no limit)."""

    name: str = ""
    clients: int = 64
    chunks: int = 100
    bits_per_second: int = 500_000_000
    loss: float = 0.0
    burst: int = 1
    disk: float = 0.0
    buffers: int = 64
    late: dict[int, float] = field(default_factory=dict)
    vanish: dict[int, float] = field(default_factory=dict)
    switch_bits_per_second: int = 0
    switch_buffer_blocks: int = 0
    parity: bool = True
    strangers: int = 0
    """So many clients, the first ones, do not say that they understand parity."""
    hearing: float = 0.0
    """What each packet costs each client, where all of them run on one machine."""
    busy: Busy | None = None
    seed: int = 1

    @property
    def ideal(self) -> float:
        """Seconds that the image takes at the bandwidth."""
        return self.chunks * BLOCKS_PER_CHUNK * BITS_PER_BLOCK / self.bits_per_second


class Node:
    """One client with its loss, its disk, and when it will be looked at next."""

    def __init__(self, number: int, setting: Setting, start: float) -> None:
        tuning = Tuning(buffers=setting.buffers, silence=60)
        self.number = number
        self.receiver = Receiver(number + 1, tuning, now=start)
        self.loss = Loss(setting.loss, setting.burst, setting.seed * 100_003 + number)
        self.wake_at = float("inf")
        self.disk_free = 0.0
        self.ended: float | None = None
        self.stored = 0
        self.schedule = Schedule(setting.busy, number + 1) if setting.busy else None
        self.inbox: deque[tuple[int, Callable[..., Any], tuple[Any, ...]]] = deque()
        self.waiting = self.overflowed = 0
        self.works = False


class Simulation:
    """Runs a setting to its end; everything arrives ``LATENCY`` after it was sent."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self.serial = 0
        self.sender = Sender(setting.chunks * CHUNK_SIZE, 0.0, parity=setting.parity)
        self.pacer = Pacer.of_bandwidth(setting.bits_per_second, LONGEST_TRAIN)
        self.nodes: dict[int, Node] = {}
        self.sending = False
        self.queue_level = self.queue_time = 0.0
        self.machine_free = 0.0
        self.dropped = self.requests = 0
        self.combined_at: list[float] = []
        self.schedule = Schedule(setting.busy, 0) if setting.busy and setting.busy.server else None
        for number in range(setting.clients):
            start = setting.late.get(number, number * 1e-5)
            self.at(start, self.enter, number)
            if number in setting.vanish:
                self.at(setting.vanish[number], self.nodes.pop, number)

    def at(self, when: float, action: Callable[..., Any], *arguments: Any) -> None:
        """Have something done at a time."""
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, action, arguments))

    def enter(self, number: int) -> None:
        """Start a client."""
        self.nodes[number] = node = Node(number, self.setting, self.now)
        self.look(node)

    def run(self, limit: float = 10_000.0) -> Self:
        """Run until nothing happens any more."""
        while self.events:
            self.now, _, action, arguments = heapq.heappop(self.events)
            if self.now > limit:
                raise AssertionError(f"{self.setting.name}: not over after {limit} s")
            action(*arguments)
        return self

    def when_heard(self) -> float | None:
        """When a client looks at a packet that arrives now; None when its buffer is full."""
        free = max(self.now, self.machine_free) + self.setting.hearing
        if free - self.now > PATIENCE:
            return None
        self.machine_free = free
        return free

    # -- clients ---------------------------------------------------------------------------------

    def look(self, node: Node) -> None:
        """Let a client send what is due, and look again when it has more to do."""
        if node.ended is not None or node.number not in self.nodes or node.works:
            return
        for packet in node.receiver.poll(self.now, more=bool(node.inbox)):
            is_stranger = node.number < self.setting.strangers
            said = packet if is_stranger else marked(packet)
            self.at(self.now + LATENCY, self.hear, node.number, said)
        self.plan(node)

    def plan(self, node: Node) -> None:
        """Look at a client again at its deadline."""
        due = max(node.receiver.deadline(), self.now)
        if due < node.wake_at:
            node.wake_at = due
            self.at(due, self.wake, node, due)

    def wake(self, node: Node, due: float) -> None:
        """Look at a client, unless it has been looked at since."""
        if node.wake_at == due:
            if node.schedule and (runs_at := node.schedule.runs_at(self.now)) > self.now:
                node.wake_at = runs_at
                self.at(runs_at, self.wake, node, runs_at)
                return
            node.wake_at = float("inf")
            if node.receiver.deadline() <= self.now:
                self.look(node)
            else:
                self.plan(node)

    def hear(self, number: int, packet: Packet) -> None:
        """Bring a client's packet to the server and to the other clients."""
        address = f"10.0.{number >> 8}.{number & 255}"
        if self.schedule:
            self.at(self.schedule.runs_at(self.now), self.heed, packet, address)
        else:
            self.heed(packet, address)
        if isinstance(packet, Ask | AskPart):
            self.requests += 1
            for other in self.nodes.values():
                if other.number != number and other.ended is None:
                    self.overhear(other, packet, address)

    def heed(self, packet: Packet, address: str) -> None:
        """Have the server do what a client asks for."""
        reply = self.sender.receive(packet, address, self.now)
        if reply is not None:
            self.at(self.now + LATENCY, self.answer, reply)
        self.serve()

    def overhear(self, node: Node, packet: Packet, address: str) -> None:
        """Bring what one client asks for to another."""
        if node.schedule:
            self.queue(node, 1, self.note, node, packet, address)
        elif not self.setting.hearing:
            node.receiver.receive(packet, self.now, address)
        elif when := self.when_heard():
            self.at(when, self.take, node, packet, address)

    def note(self, node: Node, packet: Packet, address: str) -> None:
        """Have a client note what another asked for."""
        node.receiver.receive(packet, self.now, address)

    def take(self, node: Node, packet: Packet, address: str) -> None:
        """Have a busy client look at what another asked for."""
        node.receiver.receive(packet, self.now, address)
        self.plan(node)

    def answer(self, reply: Packet) -> None:
        """Bring the server's reply to the clients."""
        for node in self.nodes.values():
            is_stranger = node.number < self.setting.strangers
            was_joined = node.receiver.joined
            node.receiver.receive(reply._replace(parity=False) if is_stranger else reply, self.now)
            if not was_joined:
                self.plan(node)

    # -- clients of a busy machine ---------------------------------------------------------------

    def queue(self, node: Node, blocks: int, action: Callable[..., Any], *arguments: Any) -> None:
        """Have a client take something when it gets to it; what finds no room is lost."""
        busy = node.schedule.busy
        if node.waiting + blocks > busy.blocks:
            node.overflowed += blocks
            return
        node.waiting += blocks
        node.inbox.append((blocks, action, arguments))
        if not node.works:
            node.works = True
            self.at(node.schedule.runs_at(self.now), self.work, node)

    def work(self, node: Node) -> None:
        """Have a client take part of what waits."""
        busy, blocks, taken = node.schedule.busy, 0, []
        while node.inbox and blocks < busy.batch:
            count, action, arguments = node.inbox.popleft()
            blocks += count
            taken.append((action, arguments))
        node.waiting -= blocks
        ends_at = node.schedule.runs_at(self.now + busy.taking * blocks)
        self.at(ends_at, self.worked, node, taken)

    def worked(self, node: Node, taken: list[tuple[Callable[..., Any], tuple[Any, ...]]]) -> None:
        """Let a client send what is due after what it took, and take the rest."""
        for action, arguments in taken:
            action(*arguments)
        node.works = False
        if node.receiver.deadline() <= self.now:
            self.look(node)
        elif node.ended is None:
            self.plan(node)
        if node.inbox:
            node.works = True
            self.work(node)

    # -- server ----------------------------------------------------------------------------------

    def serve(self) -> None:
        """Start sending, if there is something to send."""
        if not self.sending and self.sender.busy:
            self.pacer.start(self.now)
            self.sending = True
            self.send()

    def send(self) -> None:
        """Send a train, or wait until one may leave."""
        if self.schedule and (runs_at := self.schedule.runs_at(self.now)) > self.now:
            self.at(runs_at, self.send)
            return
        wait = self.pacer.wait(self.now)
        if wait > 1e-9:
            self.at(self.now + wait, self.send)
            return
        train = self.sender.next_train(self.pacer.burst, self.now)
        if train is None:
            self.sending = False
            if self.sender.busy:
                self.at(self.sender.due, self.serve)
            return
        if isinstance(train, ParityTrain):
            self.combined_at.append(self.now)
            self.pacer.sent(train.cost, self.now)
            self.at(self.now + LATENCY, self.arrive_combined, train)
            self.at(self.now + max(self.pacer.wait(self.now), 1e-6), self.send)
            return
        self.pacer.sent(len(train.blocks), self.now)
        blocks = self.through_switch(train.blocks)
        if blocks:
            self.at(self.now + LATENCY, self.arrive, train.chunk, blocks)
        self.at(self.now + max(self.pacer.wait(self.now), 1e-6), self.send)

    def through_switch(self, blocks: Sequence[int]) -> Sequence[int]:
        """Drop what does not fit into the buffer of a switch that is slower than the server."""
        setting = self.setting
        if not setting.switch_buffer_blocks:
            return blocks
        drained = (self.now - self.queue_time) * setting.switch_bits_per_second / BITS_PER_BLOCK
        self.queue_level = max(0.0, self.queue_level - drained)
        self.queue_time = self.now
        room = int(setting.switch_buffer_blocks - self.queue_level)
        self.dropped += max(0, len(blocks) - room)
        self.queue_level += min(room, len(blocks))
        return blocks[: max(0, room)]

    def arrive(self, chunk: int, blocks: Sequence[int]) -> None:
        """Bring a train to the clients."""
        wanted = 0
        for block in blocks:
            wanted |= 1 << block
        for node in list(self.nodes.values()):
            if node.ended is None and node.receiver.joined:
                surviving = node.loss.surviving(blocks, wanted, self.now)
                if node.schedule:
                    count = surviving.bit_count()
                    self.queue(node, count, self.store, node, chunk, surviving)
                elif not self.setting.hearing:
                    self.store(node, chunk, surviving)
                elif when := self.when_heard():
                    self.at(when, self.store, node, chunk, surviving)

    def arrive_combined(self, train: ParityTrain) -> None:
        """Bring combined blocks to the clients; they lose them as they lose others."""
        count = len(train.packets)
        for node in list(self.nodes.values()):
            if node.ended is None and node.receiver.joined:
                surviving = node.loss.surviving(range(count), (1 << count) - 1, self.now)
                for number in numbers(surviving):
                    left = train.left + count - 1 - number
                    rest = (node, train.chunk, train.packets[number], left)
                    if node.schedule:
                        self.queue(node, 1, self.store_combined, *rest)
                    elif not self.setting.hearing:
                        self.store_combined(*rest)
                    elif when := self.when_heard():
                        self.at(when, self.store_combined, *rest)

    def store_combined(self, node: Node, chunk: int, blocks: tuple[int, ...], left: int) -> None:
        """Give a client combined blocks."""
        if node.ended is None:
            block = node.receiver.store_combined(chunk, blocks, left, self.now)
            self.stored(node, chunk, 0 if block is None else 1 << block)

    def store(self, node: Node, chunk: int, blocks: int) -> None:
        """Give a client what it did not lose."""
        if blocks and node.ended is None:
            self.stored(node, chunk, node.receiver.store(chunk, blocks, self.now))

    def stored(self, node: Node, chunk: int, fresh: int) -> None:
        """Have a client's disk write a chunk that has all its blocks."""
        node.stored += fresh.bit_count()
        if fresh and node.receiver.is_full(chunk):
            took = 1 / self.setting.disk if self.setting.disk else 0.0
            node.disk_free = max(self.now, node.disk_free) + took
            if took:
                self.at(node.disk_free, self.written, node)
                self.look(node)
            else:
                self.written(node)
        elif node.receiver.deadline() < node.wake_at:
            self.plan(node)

    def written(self, node: Node) -> None:
        """Note that a client's disk has one more chunk."""
        if node.number not in self.nodes:
            return
        node.receiver.written(self.now)
        if node.receiver.finished:
            node.ended = self.now
            elapsed = int(self.now)
            self.at(self.now + LATENCY, self.hear, node.number, Leave(node.number + 1, elapsed))
        else:
            self.look(node)

    # -- figures ---------------------------------------------------------------------------------

    @property
    def repeats(self) -> float:
        """How many times the image was sent."""
        return self.sender.counters.blocks_sent / self.sender.blocks

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the clients that have not ended."""
        return [node.number for node in self.nodes.values() if node.ended is None]


def settings(clients: int, chunks: int) -> Iterator[Setting]:
    def make(name: str, **changes: Any) -> Setting:
        return replace(Setting(name=name, clients=clients, chunks=chunks), **changes)

    half = make("").ideal / 2
    yield make("no loss")
    yield make("1 % loss, independent", loss=0.01)
    yield make("1 % loss, without parity", loss=0.01, parity=False)
    yield make("1 % loss, one knows no parity", loss=0.01, strangers=1)
    yield make("1 % loss, bursts of 20", loss=0.01, burst=20)
    yield make("5 % loss, independent", loss=0.05)
    yield make("5 % loss, without parity", loss=0.05, parity=False)
    yield make("slow disks, 30 MiB/s", disk=30.0)
    yield make("a tenth joins halfway", late=dict.fromkeys(range(0, clients, 10), half))
    yield make("a tenth vanishes halfway", vanish=dict.fromkeys(range(0, clients, 10), half))
    yield make(
        "switch: 600 Mb/s, 64 blocks", switch_bits_per_second=600_000_000, switch_buffer_blocks=64
    )
    yield make("one machine, 5 Mb/s", bits_per_second=5_000_000, hearing=5e-5)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clients", nargs="?", type=int, default=64)
    parser.add_argument("chunks", nargs="?", type=int, default=100)
    arguments = parser.parse_args(argv[1:])
    clients, chunks = arguments.clients, arguments.chunks
    print(f"{clients} clients, image of {chunks} MiB, 500 Mb/s")
    print(
        f"{'setting':30} {'time/ideal':>10} {'sent/image':>10} {'spread s':>8} {'requests':>8} took"
    )
    for setting in settings(clients, chunks):
        start = time.perf_counter()
        done = Simulation(setting).run()
        if done.unfinished:
            print(f"{setting.name:30} not finished: {done.unfinished}")
            return 1
        ends = [node.ended or 0.0 for node in done.nodes.values()]
        took = time.perf_counter() - start
        print(
            f"{setting.name:30} {max(ends) / setting.ideal:10.2f} {done.repeats:10.2f} "
            f"{max(ends) - min(ends):8.2f} {done.requests:8d} {took:5.1f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
