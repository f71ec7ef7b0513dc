"""Sessions of udpcast: who is waited for, who comes too late, and senders that fail."""

import asyncio
import contextlib
import sys

import pytest

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config.settings import NetworkingSettings, UdpcastSettings
from rhubarbe.errors import GatewayError
from rhubarbe.events import ImageServed, NodeFailed, Phase
from rhubarbe.gateway.engines.base import Consignment, Recipient
from rhubarbe.gateway.engines.udpcast import Udpcast
from rhubarbe.repository import OpenImage

SENDER = """\
#!{python} -ISu
import os, sys, time
here = os.path.dirname(sys.argv[0])
option = dict(zip(sys.argv[1:], sys.argv[2:]))
with open(os.path.join(here, "starts"), "a") as starts:
    print(option["--min-receivers"], option["--portbase"], file=starts)
BEFORE
print("UDP sender for image at 127.0.0.1 on lo", file=sys.stderr)
AFTER
"""
STAY = "time.sleep(60)"


def to(node):
    return Recipient(node, "10.0.0.9", "/dev/sda", Settings())


class NoGuardian:
    """A guardian that guards nothing."""

    environ = {}  # noqa: RUF012 - never changed

    def guarding_child(self, pid):
        return contextlib.nullcontext()


class Gateway:
    """An engine with a sender of our own making."""

    def __init__(self, directory, image):
        self.directory = directory
        self.image = image
        self.bus = Bus()

    def sender(self, before="", after=STAY):
        program = self.directory / "udp-sender"
        text = SENDER.format(python=sys.executable)
        program.write_text(text.replace("BEFORE", before).replace("AFTER", after))
        program.chmod(0o700)

    def engine(self, *nodes, gather=30.0):
        settings = Settings(
            udpcast=UdpcastSettings(sender=str(self.directory / "udp-sender"), gather=gather),
            networking=NetworkingSettings(pattern_size=3),
        )
        return Udpcast(
            Consignment(
                image=self.image,
                size=3 << 20,
                nodes=nodes,
                address="127.0.0.1",
                bandwidth_mibps=100,
                verifies=False,
                settings=settings,
                bus=self.bus,
                guardian=NoGuardian(),
            )
        )

    def receivers(self):
        """How many receivers each session had."""
        path = self.directory / "starts"
        return [int(line.split()[0]) for line in path.read_text().splitlines()]


@pytest.fixture
def gateway(tmp_path):
    path = tmp_path / "image.ndz"
    path.touch()
    with OpenImage(path) as image:
        gateway = Gateway(tmp_path, image)
        gateway.sender()
        yield gateway


@contextlib.asynccontextmanager
async def running(engine):
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(engine.run())
        yield group
        task.cancel()


class Work:
    """Nodes at work in sessions, each until it is told to leave."""

    def __init__(self, engine, group):
        self._engine = engine
        self._group = group
        self.at_work = {}
        self.leave = {}
        self.tasks = {}

    def begin(self, *nodes):
        for node in nodes:
            self.leave[node] = asyncio.Event()
            self.at_work[node] = asyncio.Event()
            self.tasks[node] = self._group.create_task(self._one(node))

    async def _one(self, node):
        async with self._engine.delivery(to(node)) as delivery:
            self.at_work[node].set()
            await self.leave[node].wait()
            return delivery

    async def reached(self, *nodes):
        for node in nodes:
            await self.at_work[node].wait()


async def test_all_nodes_have_one_session(gateway):
    engine = gateway.engine("fit01", "fit02", "fit03")
    async with running(engine) as group:
        work = Work(engine, group)
        work.begin("fit01", "fit02")
        await asyncio.sleep(0.2)
        assert not work.at_work["fit01"].is_set()
        work.begin("fit03")
        await work.reached("fit01", "fit02", "fit03")
        assert gateway.receivers() == [3]
        for event in work.leave.values():
            event.set()
    command = work.tasks["fit01"].result().command
    assert "udp-receiver --nokbd" in command
    assert "--interface 10.0.0.9 --mcast-rdv-address 234.5.6." in command
    assert command.endswith("| imageunzip -o -W 32 - /dev/sda")


async def test_who_comes_late_has_the_next_session_once_the_first_is_over(gateway):
    engine = gateway.engine("fit01", "fit02", "fit03", gather=0.1)
    async with running(engine) as group:
        work = Work(engine, group)
        work.begin("fit01")
        await work.reached("fit01")
        work.begin("fit02", "fit03")
        await asyncio.sleep(0.3)
        assert gateway.receivers() == [1]
        assert not work.at_work["fit02"].is_set()
        work.leave["fit01"].set()
        await work.reached("fit02", "fit03")
        assert gateway.receivers() == [1, 2]
        work.leave["fit02"].set()
        work.leave["fit03"].set()


async def test_a_node_that_is_given_up_is_not_waited_for(gateway):
    engine = gateway.engine("fit01", "fit02")
    async with running(engine) as group:
        work = Work(engine, group)
        work.begin("fit01")
        gateway.bus.report(NodeFailed(node="fit02", phase=Phase.RESET, reason="", last_line=""))
        await work.reached("fit01")
        assert gateway.receivers() == [1]
        work.leave["fit01"].set()


async def test_a_node_that_leaves_while_it_waits_is_not_served(gateway):
    engine = gateway.engine("fit01", "fit02", gather=0.3)
    async with running(engine) as group:
        work = Work(engine, group)
        work.begin("fit01", "fit02")
        await asyncio.sleep(0)
        engine._expected.add("fit03")
        await asyncio.sleep(0.05)
        work.tasks["fit02"].cancel()
        await work.reached("fit01")
        assert gateway.receivers() == [1]
        work.leave["fit01"].set()


async def test_one_that_fails_comes_again_in_a_session_of_its_own(gateway):
    engine = gateway.engine("fit01", "fit02")
    async with running(engine) as group:
        work = Work(engine, group)
        work.begin("fit01", "fit02")
        await work.reached("fit01", "fit02")
        work.tasks["fit02"].cancel()
        work.leave["fit01"].set()
        await asyncio.wait([work.tasks["fit01"], work.tasks["fit02"]])
        work.begin("fit02")
        await work.reached("fit02")
        assert gateway.receivers() == [2, 1]
        work.leave["fit02"].set()


async def test_ports_in_use_lead_to_the_next(gateway):
    taken = (
        "if len(open(os.path.join(here, 'starts')).readlines()) < 3:"
        " sys.exit('bind socket to 127.0.0.1:10003 (Address already in use)')"
    )
    gateway.sender(before=taken)
    heard = gateway.bus.subscribe()
    engine = gateway.engine("fit01")
    async with running(engine) as group:
        work = Work(engine, group)
        work.begin("fit01")
        await work.reached("fit01")
        work.leave["fit01"].set()
    gateway.bus.close()
    served = [event async for event in heard if isinstance(event, ImageServed)]
    assert len(gateway.receivers()) == 3
    assert len(served) == 1
    assert served[0].port % 2 == 0


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("sys.exit('no such interface')", "ended with status 1: no such interface"),
        ("sys.exit('bind (Address already in use)')", "all 3 groups and ports are in use"),
    ],
)
async def test_all_that_wait_hear_why_there_is_no_session(gateway, before, says):
    gateway.sender(before=before)
    engine = gateway.engine("fit01", "fit02")
    async with running(engine) as group:
        work = [group.create_task(failure(engine, node)) for node in ("fit01", "fit02")]
        for task in work:
            assert says in await task


async def failure(engine, node):
    with pytest.raises(GatewayError) as caught:
        async with engine.delivery(to(node)):
            raise AssertionError("served")
    return str(caught.value)


@pytest.mark.parametrize(("end", "is_bad"), [("sys.exit('gone')", True), ("sys.exit(0)", False)])
async def test_only_a_bad_end_of_the_sender_is_an_alarm(gateway, end, is_bad):
    """A good one comes while the nodes still write."""
    gateway.sender(after=end)
    engine = gateway.engine("fit01")
    async with (
        running(engine),
        engine.delivery(to("fit01")) as delivery,
    ):
        kind = GatewayError if is_bad else TimeoutError
        with pytest.raises(kind):
            async with asyncio.timeout(5 if is_bad else 0.5):
                await delivery.alarm()
