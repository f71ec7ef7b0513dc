"""What is examined: a configuration, some nodes, and how long each check may take."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rhubarbe.config import Settings
from rhubarbe.config.settings import EngineName
from rhubarbe.errors import GatewayError
from rhubarbe.gateway.services.addresses import local_address_towards, why_not_ours
from rhubarbe.inventory import Entry
from rhubarbe.node import Doors
from rhubarbe.transports.netboot import Link


@dataclass(frozen=True)
class Site:
    """The nodes of a site as they are configured; `limit_s` is for each check."""

    settings: Settings
    entries: Sequence[Entry]
    limit_s: float

    @cached_property
    def address(self) -> str:
        """Our address that nodes reach; empty where there is none, which `network` tells."""
        configured = self.settings.networking.local_control_ip
        try:
            address = local_address_towards(self.entries[0].control.ip, configured)
        except (GatewayError, IndexError):
            return ""
        return "" if why_not_ours(address) else address

    @property
    def is_multicast(self) -> bool:
        """Whether images go by multicast."""
        return self.settings.frisbee.engine is not EngineName.ARIA2

    def doors(self) -> Doors:
        """Return the ways to the nodes."""
        return Doors(self.settings, min(self.settings.nodes.cmc_default_timeout, self.limit_s))

    def own(self, entry: Entry) -> Settings:
        """Return what holds for one node."""
        return self.settings.for_node(entry.number, entry.name, entry.disk)

    def links(self) -> list[tuple[Entry, Link]]:
        """Return the links that make nodes boot the ramdisk: several a node, perhaps, or none."""
        doors = self.doors()
        return [
            (entry, link)
            for entry in self.entries
            for link in doors.netboot(entry, self.own(entry)).links
        ]
