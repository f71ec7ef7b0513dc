"""A kind of power control that is in no file of rhubarbe: the one that docs/KINDS.md prints.

It is added as others would be, by a file and a line in the table, and passes what all kinds do.
"""

import asyncio
import contextlib
import json
import re
import shutil
import sys
import urllib.request
from pathlib import Path

import pytest
from conformance import WithCredentials
from emulated import start_testbed

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.inventory import Driver
from rhubarbe.transports import power

PAGE = Path(__file__).parents[3] / "docs/KINDS.md"
PASSWORD = "s3cr3t"
# Imported by each Python by itself.
PLUGGED_IN = "from rhubarbe.transports.power import KINDS\nKINDS['strip'] = 'strip.Strip'\n"


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """A directory of modules with the new kind, and the line in the table of this process."""
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
               if "class Strip" in each]  # fmt: skip
    (tmp_path / "strip.py").write_text(code)
    (tmp_path / "sitecustomize.py").write_text(PLUGGED_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strip", raising=False)
    monkeypatch.setitem(power.KINDS, "strip", "strip.Strip")
    return tmp_path


def test_its_file_is_small(site):
    assert len((site / "strip.py").read_text().splitlines()) < 120


@contextlib.asynccontextmanager
async def strip(verbs):
    """Serve a power strip, of which `verbs` says by outlet what does a verb; yield the port."""
    writers = []

    async def accepted(reader, writer):
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            password, outlet, verb = (await reader.readuntil(b"\n")).decode().split()
            answer = await verbs(int(outlet), verb) if password == PASSWORD else "refused"
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


class TestConformance(WithCredentials):
    """As every kind, and it lets in only whom it knows."""

    def control(self, port, within, password=PASSWORD):
        said = {"address": "127.0.0.1", "port": port, "outlet": 3, "password": password}
        driver = Driver("strip", said)
        assert list(power.CONTROLS.faults(driver)) == []
        values = power.CONTROLS.values(driver)
        return power.CONTROLS.named("strip")(values, within, NetworkingSettings())

    def stranger(self, port, within):
        return self.control(port, within, "guess")

    def serve(self, machine):
        async def do(outlet, verb):
            assert outlet == 3
            if verb == "status":
                return "on" if machine.seen() else "off"
            if verb not in ("on", "off", "reset"):
                return "what?"
            machine.press(verb)
            return "ok"

        return strip(do)


class Plugged:
    """A testbed of two nodes, which a strip switches in place of the cards that they had."""

    def __init__(self, testbed):
        self._testbed = testbed
        self._inventory = testbed.directory / "inventory.json"
        self._entries = json.loads(self._inventory.read_text())
        conf = (testbed.directory / "rhubarbe.conf").read_text()
        port = re.search(r"(?m)^cmc_port = (.*)$", conf)[1]
        self._cards = [f"http://{each.pop('cmc')['ip']}:{port}/" for each in self._entries]
        self.told = []

    async def press(self, outlet, verb):
        """Have the card of a node do what the strip is told."""
        self.told.append((outlet, verb))
        return await asyncio.to_thread(self._ask, f"{self._cards[outlet - 1]}{verb}")

    @staticmethod
    def _ask(url):
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode().strip()

    def describe(self, port, passwords):
        """Write the inventory of nodes that are plugged into a strip there."""
        for outlet, password in enumerate(passwords, 1):
            said = {"address": "127.0.0.1", "port": port, "outlet": outlet, "password": password}
            self._entries[outlet - 1]["power"] = {"kind": "strip", **said}
        self._inventory.write_text(json.dumps(self._entries))

    async def run(self, *words, **environ):
        """Run a command as a user types it."""
        return await asyncio.to_thread(self._testbed.run, *words, **environ)


@pytest.mark.testbed
async def test_nodes_are_loaded_and_switched_by_it(site):
    testbed = await asyncio.to_thread(
        start_testbed, site / "testbed", "--nodes", "2", "--boot-time", "0.5"
    )
    try:
        plugged, known = Plugged(testbed), {"PYTHONPATH": str(site)}
        async with strip(plugged.press) as port:
            plugged.describe(port, [PASSWORD, PASSWORD])
            assert (await plugged.run("rhubarbe-status", "1-2", **known)).stdout == "1-2: on\n"
            assert (await plugged.run("rhubarbe-off", "2", **known)).returncode == 0
            load = await plugged.run("rhubarbe-load", "-i", "sample", "1-2", **known)
            assert load.returncode == 0, load.stdout + load.stderr
            assert {(2, "off"), (1, "reset"), (2, "on")} <= {*plugged.told}

            plugged.describe(port, [PASSWORD, "guess"])
            refused = await plugged.run("rhubarbe-status", "2", **known)
            words = "127.0.0.1 outlet 2 (fit02): answers status with 'refused', expected on or off"
            assert (refused.returncode, refused.stdout) == (1, f"{words}\n")
            unknown = await plugged.run("rhubarbe-status", "2")
            assert "fit01: power: there is no kind 'strip', but cmc" in unknown.stderr
    finally:
        await asyncio.to_thread(testbed.end)
        shutil.rmtree(testbed.directory, ignore_errors=True)
