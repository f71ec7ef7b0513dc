"""The ways to the nodes of one command; a test has others, to nodes that are not there."""

import asyncio
from collections import deque
from contextlib import AbstractAsyncContextManager

from rhubarbe.config import Settings
from rhubarbe.inventory import Driver, Entry
from rhubarbe.transports import presence, ssh
from rhubarbe.transports.netboot import Netboot, netboot_of
from rhubarbe.transports.power import CONTROLS, Inputs, PowerControl
from rhubarbe.transports.shell import ShellSession, open_session

# Seconds for a look at a port: on the control network an answer takes milliseconds.
LOOK = 1.0
# More handshakes at once than this only make each other late.
SESSIONS = 16


class Doors:
    """Opens what the transports offer, as the inventory and the configuration say for each node."""

    def __init__(self, settings: Settings, answers_within: float | None = None) -> None:
        """Give a power control `answers_within` seconds for an answer, or as is configured."""
        limits = settings.nodes
        self.settings = settings
        self._networking = settings.networking
        self._answers_within = answers_within or limits.cmc_default_timeout
        self._turns = Turns(limits.reset_window)
        self.sessions = asyncio.Semaphore(SESSIONS)
        """To be held while logged in to a node's own system."""

    def power(self, entry: Entry) -> Inputs:
        """Return what controls the node's power."""
        return Inputs([self._control(driver, entry) for driver in entry.power_drivers])

    def _control(self, driver: Driver, entry: Entry) -> PowerControl:
        control, values = CONTROLS.named(driver.kind), CONTROLS.values(driver, entry)
        return control(values, self._answers_within, self._networking)

    def netboot(self, entry: Entry, settings: Settings) -> Netboot:
        """Return what makes the node boot the ramdisk, by the settings of the node."""
        return netboot_of(entry, settings)

    def shell(self, entry: Entry, settings: Settings) -> AbstractAsyncContextManager[ShellSession]:
        """Open a session with the ramdisk's shell; raises Unreachable, and Refused by ssh."""
        shell = settings.nodes.ramdisk_shell
        return open_session(shell, entry.control.ip, settings.networking, entry.name)

    def system(self, entry: Entry, user: str) -> ssh.SshHost:
        """Return the ssh service of the node's own system, for this user."""
        return ssh.SshHost.of(entry.name, entry.control.ip, self._networking, user)

    async def accepts(self, entry: Entry, port: int, limit_s: float) -> bool:
        """Tell whether the node accepts a connection at this port within `limit_s` seconds."""
        return await presence.accepts(entry.control.ip, port, limit_s)

    async def presence(self, entry: Entry, limit_s: float) -> presence.Presence:
        """Look where the node answers now, on telnet and ssh, for `limit_s` seconds each."""
        ports = (self._networking.telnet_port, self._networking.ssh_port)
        return await presence.Presence.observe(entry.control.ip, ports, limit_s)

    async def turn(self) -> None:
        """Wait until one more node may be switched on or reset."""
        await self._turns.take()


class Turns:
    """Lets so many pass within a second: not all nodes of a testbed are reset in one instant."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._taken: deque[float] = deque()

    async def take(self) -> None:
        """Wait until one more may pass."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if len(self._taken) < self._window:
            self._taken.append(now)
            return
        # One second after the turn whose place in the window we take.
        ours = max(now, self._taken.popleft() + 1.0)
        self._taken.append(ours)
        await asyncio.sleep(ours - now)
