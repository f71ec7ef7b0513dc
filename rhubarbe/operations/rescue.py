"""Rescue: boot nodes into the ramdisk, where they stay until they are taken back to their disks.

The nextboot link of a rescued node stays, so that it boots the ramdisk again however it restarts.
A load or a save of the node removes the link.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError
from rhubarbe.events import Phase
from rhubarbe.inventory import Entry
from rhubarbe.node import Doors, Node
from rhubarbe.operations.command import Command
from rhubarbe.operations.workplace import workplace


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueRequest:
    """Which nodes to rescue; or, where it `releases` them, to take back to their disks.

    Nodes that another command works on are waited for `lock_wait_s` seconds.
    """

    entries: Sequence[Entry]
    limit: float
    releases: bool = False
    lock_wait_s: float = 0.0


async def rescue(
    request: RescueRequest, settings: Settings, bus: Bus, doors: Doors | None = None
) -> None:
    """Bring all the nodes there; raises RhubarbeError before any node is touched, or never.

    A node that does not reach the ramdisk keeps no link.
    """
    command = Command("rescue", request.entries, request.limit, doors or Doors(settings), bus)
    command.begin()
    await command.require_lease()
    await command.require_secrets()
    async with workplace(
        command, resets=not request.releases, lock_wait_s=request.lock_wait_s
    ) as place:

        async def job(node: Node) -> None:
            if request.releases:
                await _release(node)
            else:
                await place.into_ramdisk(node, stays=True)

        await place.run(job)


async def _release(node: Node) -> None:
    """Remove the link, and reset the node onto its disk; raises GatewayError or NodeError."""
    await node.next_boot.remove()
    if left := await node.next_boot.left():
        link = left[0]
        raise GatewayError(
            f"{link.path} is not a link to {link.entry}, and so not ours: remove it by hand"
        )
    await node.power.reboot(Phase.BOOT)
