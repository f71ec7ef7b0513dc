"""Controllers that speak Redfish: sushy-emulator, with a driver that switches our machines.

One process serves them all, each at an address of its own where it has one system: controllers.py.
"""

import asyncio
import importlib.util
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from rhubarbe.annexe.errors import MissingProgram, ProgramFailed
from rhubarbe.annexe.programs import last_line
from rhubarbe.testbed import certificates, programs
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import bridge
from rhubarbe.testbed.controls.base import Switch
from rhubarbe.testbed.site import Site

USER = "operator"
START_LIMIT_S = 60.0
AUTHORITY, SERVED, PASSWORD = "ca.pem", "controllers.pem", "controllers.password"


class Redfish:
    """The controllers of the nodes."""

    faults: ClassVar = frozenset({"card-dead", "card-silent", "card-500", "card-refuses"})
    sets_boot: ClassVar = True

    def check(self) -> None:
        """Raise MissingProgram without sushy-emulator."""
        if importlib.util.find_spec("sushy_tools") is None:
            raise MissingProgram("--power redfish needs sushy-tools: pip install sushy-tools")

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Make certificates and a password; tell where each controller is, and both of them."""
        cards = [addresses.card(each.number) for each in names]
        certificates.write(site.directory / AUTHORITY, site.run / SERVED, cards)
        password = site.directory / PASSWORD
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe() + "\n")
        return {
            each.number: {
                "kind": "redfish",
                "address": card,
                "port": addresses.ports.cmc,
                "user": USER,
                "password": f"!file {password}",
                "ca": str(site.directory / AUTHORITY),
            }
            for each, card in zip(names, cards, strict=True)
        }

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Run them, and connect them with the machines."""
        way = site.run / "redfish"
        plan = {
            "way": str(way),
            "machines": {each.address: each.name for each in switches if each.listens},
            "port": addresses.ports.cmc,
            "served": str(site.run / SERVED),
            "user": USER,
            "password": str(site.directory / PASSWORD),
            "directory": str(site.run),
        }
        async with bridge.bridged(way, switches, _answer):
            with (site.run / "redfish.log").open("wb") as said:
                child = await asyncio.create_subprocess_exec(
                    *programs.python_program("rhubarbe.testbed.controls.controllers", "redfish"),
                    json.dumps(plan),
                    stdin=asyncio.subprocess.PIPE,  # it ends when we do
                    stdout=asyncio.subprocess.PIPE,
                    stderr=said,
                )
            try:
                if not await _serves(child):
                    said_last = last_line((site.run / "redfish.log").read_text())
                    raise ProgramFailed(f"sushy-emulator: {said_last}")
                yield
            finally:
                if child.returncode is None:
                    child.kill()
                await child.wait()


async def _serves(child: asyncio.subprocess.Process) -> bool:
    """Tell whether it serves, once it says so."""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_LIMIT_S):
            return child.stdout is not None and bool(await child.stdout.readline())
    return False


def _answer(switch: Switch, verb: str) -> str:
    """Answer what a power card does, and `network` or `disk`: what it boots next."""
    if verb in ("network", "disk"):
        switch.network_once = verb == "network"
        return "ok"
    if verb == "boot":
        return "network" if switch.network_once else "disk"
    return bridge.power(switch, verb)
