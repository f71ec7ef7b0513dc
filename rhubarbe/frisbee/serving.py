"""The server at work: the sending machine with its image, its socket and a clock."""

import os
import select
import socket
import time

from rhubarbe.frisbee import report
from rhubarbe.frisbee.errors import FrisbeeError, MalformedPacket
from rhubarbe.frisbee.floods import Floods
from rhubarbe.frisbee.image import ServedImage
from rhubarbe.frisbee.multicast import KEEP_ALIVE_S, LONGEST_TRAIN, Arrival, Channel
from rhubarbe.frisbee.pacing import BITS_PER_BLOCK, Pacer
from rhubarbe.frisbee.packets import (
    Ask,
    AskPart,
    Join,
    Join2,
    Leave,
    Leave2,
    Packet,
    Parity,
    decode,
    encode,
)
from rhubarbe.frisbee.parity import ParityTrain, exclusive_or
from rhubarbe.frisbee.rates import Rates
from rhubarbe.frisbee.sending import Sender, Train
from rhubarbe.frisbee.trains import BlockPackets

_TICK_S = 0.1  # between looks at the clock while idle
_DYNAMIC_INTERVAL_S = 0.5
_ARRIVALS_PER_TURN = 64
_TRAINS_PER_TURN = 8  # at full speed: about a millisecond
_REMARKS_PER_SECOND = 20
_PACKETS_OF_AN_ADDRESS = 2000, 4000  # a second, in one burst: ten times what a client needs
_JOINS_OF_AN_ADDRESS = 20, 100
_LONGEST_CUT_S = 60  # without a way to the group
_RATES_AT_ONCE, _LONGEST_RATE = 4096, 15  # bytes


class Serving:
    """A session from its first packet to its statistics.

    It ends after ``idle_limit`` seconds without requests (0: never; negative: when all clients
    have left), and reminds switches of the group each ``keep_alive`` idle seconds.
    """

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        image: ServedImage,
        channel: Channel,
        pacer: Pacer,
        log: report.LineReport,
        *,
        debug: int = 0,
        idle_limit: int = 0,
        keep_alive: int = KEEP_ALIVE_S,
        dynamic: bool = False,
        rates: int | None = None,
        parity: bool = True,
    ) -> None:
        """Hear of other bandwidths by the descriptor `rates`, which does not block."""
        self._image = image
        self._channel = channel
        self._pacer = pacer
        self._log = log
        self._debug = debug
        self._idle_limit = idle_limit
        self._keep_alive_every = keep_alive if not 0 < idle_limit < keep_alive else 0
        self._dynamic = dynamic
        self._rates = [] if rates is None else [rates]
        self._half_line = b""
        self._start = time.monotonic()
        self._sender = Sender(image.size, self._start, parity=parity)
        self._packets = BlockPackets(channel.source)
        self._floods = Floods(*_PACKETS_OF_AN_ADDRESS, channel.deaf_to)
        self._joins = Rates(*_JOINS_OF_AN_ADDRESS)
        self._chunk = -1
        self._runs: list[memoryview] = []
        self._combined: list[bytes] = []
        self._length = self._sent = 0
        self._idle = True
        self._kept_alive = self._adapted = self._start
        self._trouble = 0
        self._remarks_second = self._remarks_made = 0

    # -- sending ---------------------------------------------------------------------------------

    def _work(self, now: float) -> float:
        """Send what may be sent now; return for how many seconds nothing is to be done."""
        for _ in range(_TRAINS_PER_TURN):
            wait = self._push() if self._length else self._send_next(now)
            if wait:
                return wait
            now = time.monotonic()
        return 0.0

    def _send_next(self, now: float) -> float:
        """Send the next train, if it is time; return how long to wait when it is not."""
        wait = self._pacer.wait(now)
        if wait:
            return wait
        train = self._sender.next_train(self._pacer.burst, now)
        if train is None:
            self._idle = True
            return min(_TICK_S, max(self._sender.due - now, 0.0))
        if self._idle:
            self._pacer.start(now)
            self._idle = False
        if isinstance(train, ParityTrain):
            self._combine(train)
            self._pacer.sent(train.cost, now)
        else:
            self._load(train)
            self._pacer.sent(len(train.blocks), now)
        return self._push()

    def _load(self, train: Train) -> None:
        self._read(train.chunk, train.blocks[0], train.blocks[-1])
        self._runs = self._packets.runs(train.blocks)
        self._length, self._sent = len(train.blocks), 0

    def _combine(self, train: ParityTrain) -> None:
        chunk, packets, left = train
        self._read(chunk, min(map(min, packets)), max(map(max, packets)))
        data, left = self._packets.data, left + len(packets)
        self._combined = [
            encode(
                Parity(chunk, left - number, blocks, exclusive_or(data[each] for each in blocks)),
                self._channel.source,
            )
            for number, blocks in enumerate(packets, 1)
        ]
        self._length, self._sent = len(packets), 0

    def _read(self, chunk: int, first: int, last: int) -> None:
        """Have blocks of a chunk where their packets are made."""
        if chunk != self._chunk:
            self._chunk = chunk
            self._packets.choose(chunk)
            self._image.will_need(chunk)
        self._image.read(chunk, first, self._packets.data[first : last + 1])

    def _push(self) -> float:
        """Hand the train to the kernel; return how long to wait when it has no room."""
        try:
            if self._combined:
                self._sent = self._channel.send_each(self._combined, self._sent)
            else:
                self._sent = self._channel.send_train(self._runs, self._sent)
        except OSError as error:
            message = f"Cannot send chunk {self._chunk} of {self._image.name}: {error.strerror}"
            raise FrisbeeError(message) from error
        if self._channel.cut_at is not None:
            return self._wait_for_way(self._channel.cut_at)
        if self._sent < self._length:
            return 0.001
        self._sender.counters.messages_out += self._sent
        self._runs, self._combined, self._length = [], [], 0
        return 0.0

    def _wait_for_way(self, since: float) -> float:
        """Return how long to wait for the interface, or its route, to come back."""
        if time.monotonic() - since > _LONGEST_CUT_S:
            raise FrisbeeError(
                f"Cannot send {self._image.name}: no way to {self._channel.session.group} for"
                f" {_LONGEST_CUT_S} seconds"
            )
        return _TICK_S

    # -- receiving -------------------------------------------------------------------------------

    def _listen(self, ready: list[socket.socket], now: float) -> None:
        replies: dict[Packet, None] = {}  # one reply serves all who asked the same
        for each in ready:
            for arrival in self._channel.receive(each, _ARRIVALS_PER_TURN):
                self._take(arrival, replies, now)
        for reply in replies:
            self._channel.send(encode(reply, self._channel.source))
            self._sender.counters.messages_out += 1

    def _take(self, arrival: Arrival, replies: dict[Packet, None], now: float) -> None:
        data, segment, address, port = arrival
        if not self._floods.admits(address, arrival.packets, now):
            self._remark(f"packets from {address} ignored: too many a second", now)
            return
        for start in range(0, len(data) or 1, segment):
            try:
                packet, source = decode(data[start : start + segment])
                self._check_origin(source, address, port)
                self._check_rate(packet, address, now)
                reply = self._sender.receive(packet, address, now)
            except MalformedPacket as problem:
                self._remark(f"{problem}: packet from {address} ignored", now)
                continue
            if reply is not None:
                replies[reply] = None
            if self._debug:
                self._tell(packet, address, now)

    def _check_origin(self, source: bytes, address: str, port: int) -> None:
        claimed = socket.inet_ntoa(source)
        if address not in (claimed, self._channel.session.group):
            raise MalformedPacket(f"Bad message source ({claimed} != {address})")
        if port != self._channel.port:
            raise MalformedPacket(f"Bad message port ({port} != {self._channel.port})")

    def _check_rate(self, packet: Packet, address: str, now: float) -> None:
        if isinstance(packet, Join | Join2) and not self._joins.allow(address, 1, now):
            raise MalformedPacket("it joins too often")

    # -- talking ---------------------------------------------------------------------------------

    def _remark(self, text: str, now: float) -> None:
        """Log what strangers on the network can make us log, only so many times a second."""
        if int(now) != self._remarks_second:
            self._remarks_second, self._remarks_made = int(now), 0
        self._remarks_made += 1
        if self._debug and self._remarks_made <= _REMARKS_PER_SECOND:
            self._log.line(text)

    def _tell(self, packet: Packet, address: str, now: float) -> None:
        active = f"{self._sender.roster.active} active clients"
        match packet:
            case Join() | Join2():
                version = 1 if isinstance(packet, Join) else 2
                who = f"{address} (id {packet.client}, image {self._image.name})"
                self._remark(f"{who} joins (v{version}) at {report.clock()}!  {active}.", now)
                self._remark(f"sending JOIN{version} reply to {packet.client}", now)
            case Leave() | Leave2():
                who = f"{address} (id {packet.client}, image {self._image.name})"
                ran = f"ran for {packet.elapsed} seconds"
                self._remark(f"{who}: leaves at {report.clock()}, {ran}.  {active}", now)
                if isinstance(packet, Leave2):
                    self._remark(report.describe(packet.client, packet.statistics).rstrip(), now)
            case Ask() if self._debug > 1:
                what = f"chunk:{packet.chunk} block:{packet.block} size:{packet.length}"
                self._remark(f"Client {address} requests {what}", now)
            case AskPart() if self._debug > 1:
                what = f"{packet.blocks.bit_count()} blocks of chunk:{packet.chunk}"
                self._remark(f"Client {address} requests {what}", now)

    def announce(self) -> None:
        """Log the parameters of the session, and that it is ready."""
        if self._debug:
            self._log.write(self._parameters())
        self._log.line(
            f"Serving {self._image.name} on {self._channel.session.group}:{self._channel.port}"
        )

    def _parameters(self) -> str:
        pacer = self._pacer
        limit = "unlimited"
        if pacer.rate:
            megabits = pacer.rate * BITS_PER_BLOCK / 1e6
            limit = f"{megabits:.3f} Mbits/sec ({pacer.rate:.0f} blocks/sec)"
            limit += f"\n  burstsize={pacer.burst}, burstinterval={pacer.interval * 1e6:.0f}us"
        group = (
            f"Using Multicast {self._channel.session.group}\n"
            if self._channel.session.is_multicast
            else ""
        )
        return (
            f"Opened {self._image.name}: {self._sender.blocks} blocks ({self._image.size} bytes)\n"
            f"Maximum socket buffer size of {self._channel.buffer_bytes} bytes\n"
            f"Maximum send bandwidth {limit}\n"
            f"{group}Bound to {self._channel.session.group}:{self._channel.port}\n"
        )

    def close_books(self) -> None:
        """Print the statistics of the session."""
        counters, roster = self._sender.counters, self._sender.roster
        counters.intervals, counters.missed = self._pacer.intervals, self._pacer.missed
        counters.overruns = self._channel.overruns
        seconds = time.monotonic() - self._start
        if self._debug:
            self._log.write(
                report.summarize(
                    counters, roster.joins, roster.leaves, self._sender.blocks, seconds
                )
            )
        else:
            repeated = max(0, counters.blocks_sent - self._sender.blocks)
            sent = f"Sent {counters.blocks_sent} blocks ({repeated} repeated)"
            self._log.line(f"{sent}; {roster.joins} joins, {roster.leaves} leaves")

    # -- the loop --------------------------------------------------------------------------------

    def run(self, wake: int) -> None:
        """Serve until the session is over, or something can be read from ``wake``."""
        waiting: list[int | socket.socket] = [wake, *self._channel.sockets]
        while True:
            now = time.monotonic()
            pause = self._work(now)
            ready = select.select([*waiting, *self._rates], (), (), pause)[0]
            if wake in ready:
                self._log.line("Interrupted!")
                return
            if self._rates and self._rates[0] in ready:
                self._hear_rates()
            if ready:
                self._listen([each for each in self._channel.sockets if each in ready], now)
            if self._idle and self._is_over(now):
                return
            self._floods.poll(now)
            if self._dynamic:
                self._adapt(now)
            while self._channel.remarks:
                self._log.line(self._channel.remarks.pop())

    def _is_over(self, now: float) -> bool:
        """Tell whether nobody needs us any more; while somebody may, remind switches of us."""
        self._image.check()
        if why := self._sender.over(self._idle_limit, now):
            self._log.line(why)
            return True
        self._keep_alive(now)
        return False

    def _hear_rates(self) -> None:
        """Take another bandwidth, the last that was told; whoever tells may end first."""
        try:
            said = os.read(self._rates[0], _RATES_AT_ONCE)
        except OSError:
            said = b""
        if not said:
            self._rates = []
        *lines, self._half_line = (self._half_line[-_LONGEST_RATE:] + said).split(b"\n")
        for line in lines[-1:]:
            if line.isdigit() and (bits := int(line[:_LONGEST_RATE])) >= BITS_PER_BLOCK:
                self._pacer.change(bits, LONGEST_TRAIN)
                self._log.line(f"Sending at {bits} bits per second from now on")

    def _keep_alive(self, now: float) -> None:
        every = self._keep_alive_every
        since = max(self._kept_alive, self._sender.idle_since)
        if every and now - since >= every:
            self._channel.keep_alive()
            self._kept_alive = now

    def _adapt(self, now: float) -> None:
        if now - self._adapted < _DYNAMIC_INTERVAL_S:
            return
        trouble = self._channel.overruns + self._sender.counters.repeated_requests
        self._pacer.adapt(trouble=trouble > self._trouble)
        self._adapted, self._trouble = now, trouble
