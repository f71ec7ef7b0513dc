"""Machines without a power control: woken by a magic packet, shut down by what runs on them.

Nothing of the gateway is run: `poweroff` and `reboot` of a machine are words that its system knows
(system.py), and programs of ours in its ramdisk, whose $PATH has no others. Both ask here.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar

from rhubarbe.annexe.errors import Misused
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import daemons
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.controls.bridge import bridged
from rhubarbe.testbed.emulated_machine import SHUTDOWN_S
from rhubarbe.testbed.faults import OF_WAYS_TO_CONTROLS
from rhubarbe.testbed.site import Plan, Site
from rhubarbe.testbed.system import ORDERS

PORT = 9009
# Senders repeat a packet, since it may be lost: those that come so soon after it are the same one.
REPEATED_S = 0.5


class Interface(asyncio.DatagramProtocol):
    """The network interface of one machine, which hears its packet while the machine is off."""

    def __init__(self, switch: Switch, mac: str, password: str) -> None:
        """`password` is what SecureOn wants: 12 hex digits."""
        self._switch = switch
        self._packet = b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16
        self._packet += bytes.fromhex(password)
        self._heard_at = float("-inf")

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Wake the machine by its packet; nothing else is heard."""
        now = asyncio.get_running_loop().time()
        if data != self._packet or now < self._heard_at + REPEATED_S:
            return
        self._heard_at = now
        faults = ("card-silent", "card-500", "card-refuses")
        if not any(self._switch.meets(fault, Key.ON) for fault in faults):
            self._switch.press(Key.ON)


class Wol(ControlKind):
    """The machines, each of which hears packets at the address of the card that it lacks."""

    # Nobody answers a packet, and the end of a session is what an order is expected to cause.
    faults: ClassVar = OF_WAYS_TO_CONTROLS - {"card-dead", "card-half"}

    def __init__(self) -> None:
        self._password = ""

    def fit(self, plan: Plan) -> None:
        """Raise Misused where the ramdisk runs no command but by its shell."""
        if plan.ramdisk_shell != "telnet":
            raise Misused("--power wol goes with --ramdisk-shell telnet")

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Write the programs, and tell where packets are heard."""
        for program, verb in ORDERS.items():
            words = daemons.as_text(daemons.switching(site.way_of_nodes, "command"))
            path = site.directory / "ramdisk" / "bin" / program
            path.write_text(f'#!/bin/sh\nexec {words} "$NODE" {verb}\n')
            path.chmod(0o755)
        self._password = secrets.token_hex(6)
        password = site.run / "wol.password"
        daemons.write_hidden(password, f"{self._password}\n")
        return {
            each.number: {
                "kind": "wol",
                "broadcast": addresses.card(each.number),
                "wake_port": PORT,
                "password": f"!file {password.resolve()}",
                "patience": round(3 + 3 * site.plan.boot_time, 1),
            }
            for each in names
        }

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Hear packets, and what runs on the machines."""
        loop = asyncio.get_running_loop()
        transports: list[asyncio.DatagramTransport] = []
        orders: list[asyncio.TimerHandle] = []

        def answer(switch: Switch, verb: str) -> str:
            """Let who asks answer first, as a machine that shuts down does."""
            orders.append(loop.call_later(SHUTDOWN_S, switch.press, Key(verb)))
            return "ok"

        async with bridged(site.way_of_nodes, switches, answer):
            try:
                for switch in switches:
                    mac = addresses.mac(switch.names.number, 1)
                    interface = partial(Interface, switch, mac, self._password)
                    place = (switch.address, PORT)
                    transport, _ = await loop.create_datagram_endpoint(interface, place)
                    transports.append(transport)
                yield
            finally:
                for end in (
                    *(each.close for each in transports),
                    *(each.cancel for each in orders),
                ):
                    end()
