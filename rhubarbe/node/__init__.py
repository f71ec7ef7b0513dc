"""One node of the inventory, as one command works on it: its power, its ramdisk, its own system.

Each step is a phase with a time limit of its own. A step that fails raises NodeError, with words
for the user. What the transports return becomes events and outcomes in this room, and only here.
"""

import contextlib
import time
from collections.abc import AsyncIterator

from rhubarbe.bus import Bus
from rhubarbe.events import Phase, PhaseDone
from rhubarbe.inventory import Entry
from rhubarbe.node.doors import LOOK, Doors
from rhubarbe.node.next_boot import NextBoot
from rhubarbe.node.power import Power
from rhubarbe.node.ramdisk import Ramdisk
from rhubarbe.node.steps import Steps
from rhubarbe.node.system import System

__all__ = ["Doors", "Node"]


class Node(Steps):
    """One node, by all that a command can do with it.

    Where the `doors` are a test's own, the node need not be there.
    """

    def __init__(self, entry: Entry, doors: Doors, bus: Bus) -> None:
        super().__init__(entry.name, bus)
        own = doors.settings.for_node(entry.number, entry.name, entry.disk)
        self.entry = entry
        self.settings = own
        """What holds for this node."""
        self.next_boot = NextBoot(doors.netboot(entry, own))
        self.power = Power(
            doors.power(entry), lambda: doors.presence(entry, LOOK), own, doors, self
        )
        self.ramdisk = Ramdisk(entry, own, doors, self)
        self.system = System(entry, own, doors, self)

    @contextlib.asynccontextmanager
    async def linked(self, *, stays: bool = False) -> AsyncIterator[None]:
        """Hold the nextboot link, as the phase of this name; it may stay after a good end."""
        self.begin(Phase.LINK)
        started = time.monotonic()
        async with self.next_boot.linked(stays=stays):
            seconds = time.monotonic() - started
            self.report(PhaseDone(node=self.name, phase=Phase.LINK, seconds=seconds))
            yield
