"""Machines without a power control: woken by a packet, shut down and restarted over ssh.

A node is on while it answers: on telnet, where the ramdisk offers its shell so, or on ssh.
"""

import asyncio
import contextlib
from dataclasses import replace

from rhubarbe.config.secrets import NO_SECRET, Secret
from rhubarbe.config.section import Section, setting
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.config.values import PORT, SECONDS, SECRET, WORD
from rhubarbe.errors import (
    CardError,
    CommandFailed,
    Mistrusted,
    Refused,
    Unreachable,
)
from rhubarbe.transports import telnet
from rhubarbe.transports.kinds import (
    ADDRESS,
    ANY_ADDRESS,
    NODE_ADDRESS,
    NODE_MAC,
    NODE_NAME,
    REQUIRED,
)
from rhubarbe.transports.known_hosts import Identity
from rhubarbe.transports.magic_packet import MAC, wake
from rhubarbe.transports.power.base import PowerControl, answering
from rhubarbe.transports.presence import accepts
from rhubarbe.transports.ssh import USER, SshHost

# The ramdisk goes down at once: so once we have left, and have heard that it will.
LATER = "(sleep 1; {}) >/dev/null 2>&1 &"


class WolValues(Section):
    """What the inventory says of a machine."""

    broadcast: str = setting(
        ANY_ADDRESS, REQUIRED, "where the packet is sent: of the nodes' network"
    )
    mac: str = setting(MAC, NODE_MAC, "which interface is to hear it")
    address: str = setting(ADDRESS, NODE_ADDRESS, "where it answers, where not the node's")
    node: str = setting(WORD, NODE_NAME, "by which name its host key is known")
    wake_port: int = setting(PORT, 9, "the UDP port that the packet is sent to")
    password: Secret = setting(SECRET, NO_SECRET, "what SecureOn wants, if the interface has that")
    user: str = setting(WORD, "root", "who may shut it down")
    off: str = setting(WORD, "poweroff", "the command that shuts it down")
    reset: str = setting(WORD, "reboot", "and the one that restarts it")
    patience: float = setting(SECONDS, 90.0, "how many seconds it may take to come up, or go down")


class Wol(PowerControl):
    """One machine that can be woken, and shut down."""

    takes = WolValues

    def __init__(
        self, values: WolValues, answers_within: float, networking: NetworkingSettings
    ) -> None:
        self.name = f"Wake-on-LAN of {values.node or values.mac}"
        self.patience = values.patience
        self._said = values
        self._within = answers_within
        self._networking = networking

    @classmethod
    def outlet(cls, values: WolValues, networking: NetworkingSettings) -> object:
        """Return which machine it is."""
        return MAC.read(values.mac)

    async def is_on(self) -> bool:
        """Tell whether anything answers."""
        return any(await self._answers())

    async def _answers(self) -> tuple[bool, bool]:
        """Tell whether it answers on telnet, and on ssh."""
        ports = (self._networking.telnet_port, self._networking.ssh_port)
        on_telnet, on_ssh = await asyncio.gather(
            *(accepts(self._said.address, port, self._within / 2) for port in ports)
        )
        return on_telnet, on_ssh

    async def send(self, order: str) -> None:
        """Wake it, or have it shut down or restart itself; raises CardError."""
        said = self._said
        async with answering(order, self._within):
            if order == "on":
                await self._wake()
            elif order == "off":
                await self._told(order, said.off, "poweroff -f")
            elif order == "reset":
                await self._told(order, said.reset, "reboot -f")
            else:
                raise CardError(f"cannot do {order}: no control of its kind can")

    async def _wake(self) -> None:
        said = self._said
        password = await said.password.reveal() if said.password else ""
        await wake(said.mac, said.broadcast, said.wake_port, password)

    async def _told(self, order: str, command: str, in_ramdisk: str) -> None:
        """Have whatever runs on it do this; raises CardError."""
        on_telnet, on_ssh = await self._answers()
        try:
            if on_telnet:
                await self._typed(LATER.format(in_ramdisk))
            elif on_ssh:
                await self._logged_in(command, LATER.format(in_ramdisk))
            else:
                raise CardError(f"cannot do {order}: it answers neither on telnet nor on ssh")
        except (Refused, Unreachable, CommandFailed) as error:
            raise CardError(f"cannot do {order}: {error}") from error

    async def _typed(self, command: str) -> None:
        """Type a command in the ramdisk, and the end of the session."""
        networking = self._networking
        place = (self._said.address, networking.telnet_port, networking.telnet_timeout)
        async with telnet.open_session(*place) as session:
            await session.send(f"{command} exit\n")
            async for _ in session.pieces():
                pass  # until it has read the line

    async def _logged_in(self, command: str, in_ramdisk: str) -> None:
        """Have it done by the system, or by the ramdisk if it is that which answers on ssh."""
        said, networking = self._said, self._networking
        system = SshHost.of(said.node, said.address, networking, said.user)
        if networking.ramdisk_known_hosts:
            identity = Identity.of(said.node, networking, ramdisk=True)
            with contextlib.suppress(Mistrusted):
                await _done(replace(system, user=USER, identity=identity), in_ramdisk, self._within)
                return
        await _done(system, command, self._within)


async def _done(host: SshHost, command: str, limit_s: float) -> None:
    """Log in, and have a command done that may cut the session before it has ended."""
    await host.log_in(limit_s)
    with contextlib.suppress(Unreachable):
        await host.ask(limit_s, command)
