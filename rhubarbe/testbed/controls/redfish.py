"""Controllers that speak Redfish: sushy-emulator, with a driver that switches our machines.

One process serves them all, each at an address of its own where it has one system: controllers.py.
"""

import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from rhubarbe.annexe.errors import MissingProgram
from rhubarbe.testbed import certificates, programs
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import bridge, daemons
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.site import Site

USER = "operator"
START_LIMIT_S = 60.0
READY = "ready"  # what it says then, in a line
AUTHORITY, SERVED, PASSWORD = "ca.pem", "controllers.pem", "controllers.password"


class Redfish(ControlKind):
    """The controllers of the nodes."""

    sets_boot: ClassVar = True

    def check(self) -> None:
        """Raise MissingProgram without sushy-emulator."""
        if importlib.util.find_spec("sushy_tools") is None:
            pip = f"{sys.executable} -m pip"  # that of this environment: Debian's own refuses
            raise MissingProgram(f"--power redfish needs sushy-tools: {pip} install sushy-tools")

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Make certificates and a password; tell where each controller is, and both of them."""
        cards = [addresses.card(each.number) for each in names]
        certificates.write(site.directory / AUTHORITY, site.run / SERVED, cards)
        password = site.directory / PASSWORD
        password.unlink(missing_ok=True)
        daemons.new_password(password)
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
        log = site.run / "redfish.log"
        program = programs.python_program("rhubarbe.testbed.controls.controllers", "redfish")

        async def is_ready() -> bool:
            return READY in log.read_text(errors="replace").splitlines()

        async with (
            bridge.bridged(way, switches, _answer),
            daemons.serving(
                [*program, json.dumps(plan)],
                log,
                is_ready,
                name="sushy-emulator",
                within_s=START_LIMIT_S,
            ),
        ):
            yield


def _answer(switch: Switch, verb: str) -> str:
    """Answer what a power card does, and `network` or `disk`: what it boots next."""
    if verb in ("network", "disk"):
        switch.network_once = verb == "network"
        return "ok"
    if verb == "boot":
        return "network" if switch.network_once else "disk"
    return bridge.power(switch, verb)
