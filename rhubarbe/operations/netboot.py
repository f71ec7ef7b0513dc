"""What load and save have in common: bring a node into the ramdisk, under guard."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.events import Notice, Phase
from rhubarbe.gateway.guardian import Guardian
from rhubarbe.gateway.journal import Journal
from rhubarbe.gateway.locks import hold
from rhubarbe.inventory import Entry
from rhubarbe.node import Node
from rhubarbe.transports.cmc import Cards


def open_cards(settings: Settings) -> Cards:
    """Return the door to the power cards, still to be entered."""
    nodes = settings.nodes
    return Cards(settings.networking.cmc_port, nodes.cmc_default_timeout, nodes.reset_window)


async def sweep(journal: Journal, settings: Settings, bus: Bus) -> None:
    """Remove the links that commands left behind which ended without a chance to do it."""
    for words in await asyncio.to_thread(journal.sweep, settings.pxelinux.config_dir):
        bus.report(Notice(text=words))


@dataclass(frozen=True, slots=True)
class Workplace:
    """The nodes of one command, with all that must be there before they are touched."""

    nodes: Sequence[Node]
    guardian: Guardian
    journal: Journal
    resets: bool

    async def into_ramdisk(self, node: Node) -> None:
        """Return once the node's ramdisk answers and the link is gone; raises NodeError.

        A node that is not to be reset is expected to be there already.
        """
        if not self.resets:
            await node.wait_for_ramdisk()
            return
        link = node.next_boot
        async with self.journal.recorded(node.name, link.path, link.entry):
            with self.guardian.guarding_link(link.path, link.entry), node.linked():
                await node.reboot(Phase.RESET)
                await node.wait_for_ramdisk()


@contextlib.asynccontextmanager
async def workplace(
    journal: Journal,
    entries: Sequence[Entry],
    settings: Settings,
    bus: Bus,
    *,
    resets: bool,
    patience: float,
) -> AsyncIterator[Workplace]:
    """Lock the nodes, for which others are waited for `patience` seconds, and start the guardian.

    Links that others left behind are swept first.
    Raises GatewayError, before anything is touched.
    """
    await sweep(journal, settings, bus)
    names = [entry.name for entry in entries]
    async with (
        hold(settings.testbed.state_dir, journal.command, names, patience),
        Guardian() as guardian,
        open_cards(settings) as cards,
    ):
        nodes = [Node(entry, settings, cards, bus) for entry in entries]
        if resets:
            for node in nodes:
                node.next_boot.require_entry()
        yield Workplace(nodes, guardian, journal, resets)
