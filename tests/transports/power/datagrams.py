"""The conformance tests for kinds that speak UDP, where what is lost is silence."""

import asyncio
import contextlib
import math
import random
import socket

import pytest
from conformance import PowerConformance
from simulated import Switched

from rhubarbe.errors import CardError
from rhubarbe.testbed.faults import Faults

LOOK_EVERY_S = 0.01
NOISY_S = 1.0
"""How long a control is told nonsense, or half an answer: it may wait for more, up to the end."""


class DatagramLine:
    """The way to a UDP port by way of another, good or bad as a `Line` of TCP is.

    A datagram takes a pause for each byte of it; of the one that is `cut` the beginning comes.
    """

    def __init__(
        self, port, *, pause=None, cut=None, instead=None, silent=False, echoes=False, piece=1
    ):
        self._to = port
        self._pause = (pause or 0) / piece
        self._cut = cut
        self._instead = instead
        self._silent = silent
        self._echoes = echoes
        self._talks = {}
        self.carried = 0
        self.opened = asyncio.Event()
        self.closed = self

    async def __aenter__(self):
        self._near = socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._near.bind(("127.0.0.1", 0))
        self.port = self._near.getsockname()[1]
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._listening = self._tasks.create_task(self._listen())
        return self

    async def __aexit__(self, *_):
        for task in (self._listening, *(task for task, _ in self._talks.values())):
            task.cancel()
        await self._tasks.__aexit__(None, None, None)
        for _, far in self._talks.values():
            far.close()
        self._near.close()

    def fall_silent(self):
        """Carry no answer any more."""
        self._silent = True

    async def _listen(self):
        loop = asyncio.get_running_loop()
        while True:
            data, client = await loop.sock_recvfrom(self._near, 65536)
            self.opened.set()
            if client not in self._talks:
                far = socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                far.connect(("127.0.0.1", self._to))
                task = self._tasks.create_task(self._talk(far, client))
                self._talks[client] = (task, far)
            if self._echoes:
                await loop.sock_sendto(self._near, data, client)
            elif not self._silent and self._instead is None:
                await loop.sock_sendall(self._talks[client][1], data)

    async def _talk(self, far, client):
        loop = asyncio.get_running_loop()
        if self._instead is not None:
            for piece in self._instead():
                await loop.sock_sendto(self._near, piece, client)
                self.carried += len(piece)
                await asyncio.sleep(0)
            return
        while True:
            data = await loop.sock_recv(far, 65536)
            await asyncio.sleep(self._pause * len(data))
            piece = data if self._cut is None else data[: max(0, self._cut - self.carried)]
            if not self._silent and (piece or not data):
                await loop.sock_sendto(self._near, piece, client)
            self.carried += len(piece)

    @property
    def open(self):
        """How many who spoke still have their port."""
        return sum(map(_is_taken, self._talks))

    async def wait(self):
        """Wait until none has."""
        while self.open:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(LOOK_EVERY_S)


def _is_taken(place):
    with socket.socket(type=socket.SOCK_DGRAM) as trying:
        try:
            trying.bind(place)
        except OSError:
            return True
    return False


class DatagramConformance(PowerConformance):
    """What all kinds pass, where a connection is not there to be seen, and nobody is told apart."""

    way = DatagramLine
    nobody = r"no answer in 0\.3 s to {verb}"

    async def test_an_answer_that_takes_seconds_counts(self, monkeypatch):
        """Though it is asked again meanwhile, for a datagram may have been lost."""
        monkeypatch.setattr(Switched, "faults", Faults({"card-slow": math.inf}))
        async with self.reached(30) as (control, _, _):
            assert await control.is_on() is True
            await control.send("off")
            assert await control.is_on() is False

    async def test_nobody_there_is_told(self):
        with socket.socket(type=socket.SOCK_DGRAM) as holder:
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
        control = self.control(port, 0.3)
        for act, verb in ((control.is_on(), "status"), (control.send("reset"), "reset")):
            with pytest.raises(CardError, match=self.nobody.format(verb=verb)):
                await act

    @pytest.mark.parametrize("is_on", [True, False])
    async def test_half_an_answer_is_an_error_or_enough(self, is_on):
        async with self.reached() as (control, machine, line):
            machine.has_power = is_on
            await control.is_on()
            whole = line.carried

        async def halved(cut):
            async with self.reached(NOISY_S, cut=cut) as (control, machine, _):
                machine.has_power = is_on
                if cut == whole // 2:
                    with pytest.raises(CardError):
                        await control.is_on()
                with contextlib.suppress(CardError):
                    assert await control.is_on() is is_on, cut

        async with asyncio.TaskGroup() as group:
            for cut in {*range(0, whole, max(1, whole // 8)), whole // 2, whole - 1}:
                group.create_task(halved(cut))

    async def test_nonsense_is_one_clean_line(self):
        async def told(seed):
            noise = random.Random(seed).randbytes(300) + b"\x1b[2J\n"
            async with self.reached(NOISY_S, instead=lambda: [noise]) as (control, _, _):
                with pytest.raises(CardError) as caught:
                    await control.is_on()
                assert str(caught.value).isprintable()

        async with asyncio.TaskGroup() as group:
            for seed in range(10):
                group.create_task(told(seed))

    async def test_a_flood_is_not_swallowed(self):
        def flood():
            while True:
                yield b"on\n" * 10000

        async with self.reached(NOISY_S, instead=flood) as (control, _, _):
            with pytest.raises(CardError):
                await control.is_on()
