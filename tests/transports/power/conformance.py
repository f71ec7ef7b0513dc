"""What every kind of power control has to pass: a class of tests, for each kind to inherit.

Between the control and what it talks to is a line, which is TCP, and may be a bad one.
"""

import asyncio
import contextlib
import os
import random
import resource
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import pytest
from absent import AbsentDoors, entry

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import NodesSettings
from rhubarbe.errors import CardError, GatewayError, NodeError
from rhubarbe.events import Phase
from rhubarbe.node import Node, power

QUICK = Settings(nodes=NodesSettings(idle_after_reset=1, probe_interval=0.02, reset_timeout=20))
PATIENT = Settings(nodes=NodesSettings(idle_after_reset=30, probe_interval=0.02, reset_timeout=40))
ORDERS = ("on", "off", "reset")
# Nobody has to say more than that, and no control should read it all.
FLOOD = 1 << 26


class Machine:
    """What is switched; it may obey not at all, and show for a while what is not so."""

    def __init__(self):
        self.has_power = True
        self.orders = []
        self.obeys = True
        self.shows = []
        self.pressed = lambda: None

    def press(self, order):
        """Do what an order says."""
        self.orders.append(order)
        self.pressed()
        if self.obeys:
            self.has_power = order != "off" and (order == "on" or self.has_power)

    def seen(self):
        """Return what the control is to be told: whether the power is on."""
        return self.shows.pop(0) if self.shows else self.has_power

    def __bool__(self):
        return True  # it answered somewhere before

    async def has_left(self):
        """Tell whether it was seen to go away."""
        return self.obeys and bool({"off", "reset"} & {*self.orders})


class Line:
    """A TCP connection to `port` by way of another; `cut` ends it after so many bytes of answer."""

    def __init__(
        self,
        port,
        *,
        pause=None,
        cut=None,
        instead=None,
        silent=False,
        echoes=False,
        piece=1,
    ):
        self._to = port
        self._piece = piece
        self._pause = pause
        self._cut = cut
        self._instead = instead
        self._silent = silent
        self._echoes = echoes
        self._writers = set()
        self.carried = 0
        self.open = 0
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # the transports tell the readers

    def fall_silent(self):
        """Carry no answer any more, on no connection."""
        self._silent = True

    async def _accepted(self, reader, writer):
        self._writers.add(writer)
        self.open += 1
        self.opened.set()
        with contextlib.suppress(OSError):
            if self._silent:
                await reader.read()
            elif self._echoes:
                while piece := await reader.read(999):
                    writer.write(piece)
                    await writer.drain()
            elif self._instead is not None:
                await self._say_instead(reader, writer)
            else:
                await self._carry(reader, writer)
        writer.transport.abort()
        self.open -= 1
        self.closed.set()

    async def _say_instead(self, reader, writer):
        await reader.read(1)
        for piece in self._instead():
            writer.write(piece)
            await writer.drain()
            self.carried += len(piece)

    async def _carry(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers.add(far_writer)
        there = asyncio.ensure_future(self._copy(reader, far_writer))  # noqa: TID251 - ends below
        try:
            while piece := await far_reader.read(self._next()):
                if self.carried == self._cut:
                    return None
                if self._silent:
                    return await there
                writer.write(piece)
                await writer.drain()
                self.carried += len(piece)
                await asyncio.sleep(self._pause or 0)
        finally:
            there.cancel()
            far_writer.transport.abort()
            await asyncio.gather(there, return_exceptions=True)

    def _next(self):
        """Return how much to carry at a time; where it is cut, one more than up to there."""
        if self._cut is not None:
            return max(1, min(self._piece, self._cut - self.carried))
        return self._piece if self._pause else 999

    @staticmethod
    async def _copy(reader, writer):
        while piece := await reader.read(999):
            writer.write(piece)


class PowerConformance(ABC):
    """A kind's tests say how its protocol is served for a machine, and how that is reached.

    `secrets` are all that its control is told and nobody is to see.
    """

    secrets: ClassVar[Sequence[str]] = ()

    @pytest.fixture(autouse=True)
    def _readings_follow_soon(self, monkeypatch):
        monkeypatch.setattr(power, "READINGS_APART_S", 0.02)

    piece = 1
    """How many bytes come at a time over a slow line; more where an answer takes thousands."""

    cuts = 40
    """After how many bytes, at most, an answer is cut in turn."""

    way = Line
    nobody = "cannot be reached for {verb}: Connection ref"
    """What it says where nobody listens."""

    @abstractmethod
    def control(self, port, within):
        """Return what talks to 127.0.0.1 at this port, and waits so long for an answer."""

    @abstractmethod
    def serve(self, machine):
        """Serve the machine by the protocol in an async context; yield the port of 127.0.0.1."""

    @contextlib.asynccontextmanager
    async def reached(self, within=5.0, **bad):
        """Yield a control, its machine, and the line between them, bad in some way or not."""
        machine = Machine()
        async with (
            self.serve(machine) as port,
            self.way(port, piece=self.piece, **bad) as line,
            asyncio.timeout(60),
        ):
            yield self.control(line.port, within), machine, line

    async def test_orders_are_obeyed_and_seen(self):
        async with self.reached() as (control, machine, _):
            assert await control.is_on() is True
            for order, is_on in (("off", False), ("on", True), ("reset", True), ("off", False)):
                await control.send(order)
                assert await control.is_on() is is_on
                assert await control.ask("status") == ("on" if is_on else "off")
            assert machine.orders == ["off", "on", "reset", "off"]

    async def test_what_it_does_not_know_is_an_error(self):
        async with self.reached() as (control, machine, _):
            for act in (control.ask("weather"), control.send("explode")):
                with pytest.raises(CardError):
                    await act
            assert machine.orders == []

    async def test_it_has_a_name_that_a_user_knows(self):
        assert self.control(1, 1).name.isprintable()
        assert self.control(1, 1).name

    @pytest.mark.parametrize("verb", ["status", *ORDERS])
    async def test_silence_is_bounded(self, verb):
        async with self.reached(0.2, silent=True) as (control, _, _):
            with pytest.raises(CardError, match=rf"no answer in 0\.2 s to {verb}"):
                await (control.is_on() if verb == "status" else control.send(verb))

    async def test_what_drips_is_bounded(self):
        async with self.reached(0.3, pause=0.25) as (control, _, _):
            with pytest.raises(CardError, match=r"no answer in 0\.3 s to status"):
                await control.is_on()

    @pytest.mark.parametrize("is_on", [True, False])
    async def test_what_comes_slowly_is_an_answer(self, is_on):
        async with self.reached(20, pause=0.001) as (control, machine, _):
            machine.has_power = is_on
            assert await control.is_on() is is_on
            await control.send("on")
            assert machine.orders == ["on"]

    @pytest.mark.parametrize("is_on", [True, False])
    async def test_half_an_answer_is_an_error_or_enough(self, is_on):
        async with self.reached() as (control, machine, line):
            machine.has_power = is_on
            await control.is_on()
            whole = line.carried
        assert whole > 1
        for cut in range(0, whole, max(1, whole // self.cuts)):
            async with self.reached(cut=cut) as (control, machine, _):
                machine.has_power = is_on
                with contextlib.suppress(CardError):
                    assert await control.is_on() is is_on, cut
        async with self.reached(cut=whole // 2) as (control, _, _):
            with pytest.raises(CardError):
                await control.is_on()

    async def test_nobody_there_is_told(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            control = self.control(holder.getsockname()[1], 5)
            for act, verb in ((control.is_on(), "status"), (control.send("reset"), "reset")):
                with pytest.raises(CardError, match=self.nobody.format(verb=verb)):
                    await act

    async def test_a_flood_is_not_swallowed(self):
        def flood():
            return (b"on\n" * 10000 for _ in range(FLOOD // 30000))

        async with self.reached(30, instead=flood) as (control, _, line):
            with contextlib.suppress(CardError):
                await control.is_on()
        assert line.carried < FLOOD / 2

    @pytest.mark.parametrize("seed", range(10))
    async def test_nonsense_is_one_clean_line(self, seed):
        noise = random.Random(seed).randbytes(300) + b"\x1b[2J\n"
        async with self.reached(5, instead=lambda: [noise]) as (control, _, _):
            with pytest.raises(CardError) as caught:
                await control.is_on()
            assert str(caught.value).isprintable()

    async def test_who_is_cancelled_leaves_no_connection(self):
        async with self.reached(30, silent=True) as (control, _, line):
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(control.is_on())
                await line.opened.wait()
                asking.cancel()
            await line.closed.wait()
            assert line.open == 0

    async def test_a_silent_one_holds_no_other_back(self):
        async with (
            self.reached(30, silent=True) as (silent, _, _),
            self.reached() as (good, _, _),
            asyncio.TaskGroup() as group,
        ):
            waiting = group.create_task(silent.is_on())
            assert await good.is_on()
            assert not waiting.done()
            waiting.cancel()

    async def test_what_this_machine_lacks_is_no_fault_of_the_control(self):
        async with self.reached() as (control, _, _):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.open("/dev/null", os.O_RDONLY)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                with pytest.raises(GatewayError, match="this machine cannot do more"):
                    await control.is_on()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    @pytest.mark.parametrize("shows", [[True] * 9, [True, False] * 5])
    async def test_a_state_that_shows_late_is_waited_for(self, shows):
        """Some show for seconds what was before, or now this and now that."""
        async with self.reached() as (control, machine, _):
            machine.shows = [*shows]
            assert await self._node(control, machine, PATIENT).power.turn_off() == "off"
            machine.shows = [not each for each in shows]
            assert await self._node(control, machine, PATIENT).power.turn_on() == "on"
            assert machine.orders == ["off", "on"]

    async def test_who_falls_silent_behind_an_order_is_named(self):
        async with self.reached(0.3) as (control, machine, line):
            machine.pressed = line.fall_silent
            with pytest.raises(CardError, match=r"no answer in 0\.3 s to (off|status)") as caught:
                await self._node(control, machine).power.turn_off()
            assert caught.value.card == control.name

    async def test_what_it_was_told_is_not_shown_where_it_repeats_that(self):
        async with self.reached(0.5, echoes=True) as (control, machine, _):
            for act in (control.is_on, lambda: control.ask("status")):
                with pytest.raises(CardError) as caught:
                    await act()
                for secret in self.secrets:
                    assert secret not in str(caught.value)
            try:  # an order is accepted where nothing but the end of a program says so
                await control.send("off")
            except CardError as error:
                for secret in self.secrets:
                    assert secret not in str(error)
            assert machine.orders == []

    async def test_no_secret_is_shown_of_it(self):
        async with self.reached() as (control, _, _):
            await control.is_on()
            for secret in self.secrets:
                assert secret not in f"{control.name} {control!r} {control.where} {vars(control)}"

    async def test_a_node_is_restarted_by_it(self):
        async with self.reached() as (control, machine, _):
            machine.shows = [False]  # a reading that is not confirmed
            await self._node(control, machine).power.reboot(Phase.RESET)
            assert machine.orders == ["reset"]

    async def test_one_that_lies_is_found_out(self):
        async with self.reached() as (control, machine, _):
            machine.obeys = False
            with pytest.raises(NodeError, match="says ok to reset and to off, but the node stays"):
                await self._node(control, machine).power.reboot(Phase.RESET)
            with pytest.raises(CardError, match="says ok to off, but that the node is on"):
                await self._node(control, machine).power.turn_off()
            assert machine.orders == ["reset", "off", "off"]

    @staticmethod
    def _node(control, machine, settings=QUICK):
        return Node(entry(), AbsentDoors(settings, power=control, presence=machine), Bus())


class WithCredentials(PowerConformance):
    """The same, for a kind that lets in only whom it knows."""

    secrets = ("s3cr3t",)

    @abstractmethod
    def stranger(self, port, within):
        """Return a control with wrong credentials."""

    async def test_wrong_credentials_are_told_and_switch_nothing(self):
        machine = Machine()
        async with self.serve(machine) as port, asyncio.timeout(60):
            control = self.stranger(port, 5)
            for act in (control.is_on(), *map(control.send, ORDERS), control.ask("status")):
                with pytest.raises(CardError, match="refuse") as caught:
                    await act
                for secret in self.secrets:
                    assert secret not in str(caught.value)
        assert machine.orders == []
