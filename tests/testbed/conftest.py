"""A small testbed in the test's own loop, and the clients that the suite's libraries give."""

import asyncio
from pathlib import Path

import aiohttp
import asyncssh
import pytest
import telnetlib3

from rhubarbe.testbed.boot import link_name
from rhubarbe.testbed.farm import Farm, Plan

BOUND = 30  # seconds: a busy machine is no fault


class Site:
    """A farm, seen from the gateway."""

    def __init__(self, farm):
        self.farm = farm
        self.directory = farm.directory

    def hardware(self, node):
        return self.farm.machines[node].hardware

    def card_address(self, node):
        first, network, row, place = self.hardware(node).address.split(".")
        return f"{first}.{network}.{int(row) - 128}.{place}"

    async def card(self, node, verb, limit=BOUND):
        """The status and the body of what the card answers."""
        url = f"http://{self.card_address(node)}:{self.hardware(node).ports.cmc}/{verb}"
        timeout = aiohttp.ClientTimeout(total=limit)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url) as answer,
        ):
            return answer.status, await answer.text()

    async def press(self, node, verb):
        """Press a key and wait until the machine has done what it does then."""
        assert await self.card(node, verb) == (200, "ok\n")
        async with asyncio.timeout(BOUND):
            await self.farm.machines[node].settled.wait()

    def link(self, node, target="pxefrisbee"):
        link = self.directory / "pxelinux.cfg" / link_name(self.hardware(node).mac)
        link.symlink_to(target)
        return link

    async def into_ramdisk(self, node):
        link = self.link(node)
        await self.press(node, "reset")
        link.unlink()

    async def telnet(self, node):
        hardware = self.hardware(node)
        return await telnetlib3.open_connection(
            hardware.address,
            hardware.ports.telnet,
            client_factory=telnetlib3.TelnetClient,
            connect_minwait=0.05,
            connect_maxwait=0.5,
        )

    async def type(self, node, text):
        """All that a session says that types this, up to its end."""
        reader, writer = await self.telnet(node)
        writer.write(text)
        try:
            return await rest(reader)
        finally:
            writer.close()

    async def ssh(self, node, command, **options):
        hardware = self.hardware(node)
        options.setdefault("client_keys", [str(self.directory / "id_ed25519")])
        async with asyncssh.connect(
            hardware.address,
            hardware.ports.ssh,
            username="root",
            known_hosts=None,
            config=None,
            **options,
        ) as connection:
            return await connection.run(command)


async def rest(reader):
    said = ""
    async with asyncio.timeout(BOUND):
        while piece := await reader.read(4096):
            said += piece
    return said


async def until(condition):
    """Look again and again, with a bound, for what no event tells."""
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)


def processes_in(directory):
    """The processes that work in a directory or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                place = (entry / "cwd").readlink()
            except OSError:
                continue
            if place.is_relative_to(directory):
                found.append(int(entry.name))
    return found


@pytest.fixture
def image(tmp_path):
    """Something in the place of the sample image, which these tests do not look into."""
    path = tmp_path / "given.ndz"
    path.write_bytes(b"an image")
    return path


@pytest.fixture
def make_farm(tmp_path, image):
    """Plan farms that boot in no time."""

    def make(numbers=(1, 2), name="site", **options):
        settings = {"boot_time": 0.05, "image": image} | options
        return Farm(Plan(directory=tmp_path / name, numbers=numbers, **settings))

    return make


@pytest.fixture
async def site(make_farm):
    async with make_farm() as farm:
        yield Site(farm)
    assert processes_in(farm.directory) == []


@pytest.fixture
def site_of():
    return Site


@pytest.fixture
def watch():
    """`until` and `processes_in`, `rest` for the tests that need them."""
    return type(
        "Watch",
        (),
        {
            "until": staticmethod(until),
            "processes_in": staticmethod(processes_in),
            "rest": staticmethod(rest),
        },
    )
