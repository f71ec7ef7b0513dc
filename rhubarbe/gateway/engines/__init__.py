"""How an image gets from this gateway to the nodes: an engine by configuration, all alike."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rhubarbe.config import Settings
from rhubarbe.config.settings import EngineName
from rhubarbe.gateway.engines.aria2 import Aria2
from rhubarbe.gateway.engines.base import Consignment, Delivery, Engine, Recipient
from rhubarbe.gateway.engines.frisbee import Frisbee
from rhubarbe.gateway.engines.udpcast import Udpcast
from rhubarbe.gateway.processes.programs import find_program

__all__ = ["Consignment", "Delivery", "Engine", "Recipient", "make_engine", "require_program"]

ENGINES: Mapping[EngineName, Callable[[Consignment], Engine]] = MappingProxyType(
    {EngineName.FRISBEE: Frisbee, EngineName.UDPCAST: Udpcast, EngineName.ARIA2: Aria2}
)


def make_engine(consignment: Consignment) -> Engine:
    """Make the engine that the site has chosen."""
    return ENGINES[consignment.settings.frisbee.engine](consignment)


def require_program(settings: Settings) -> None:
    """Raise GatewayError where the engine's program is not on this gateway."""
    programs = {
        EngineName.FRISBEE: (settings.frisbee.server, "server in [frisbee]"),
        EngineName.UDPCAST: (settings.udpcast.sender, "sender in [udpcast]"),
        EngineName.ARIA2: (settings.aria2.seeder, "seeder in [aria2]"),
    }
    find_program(*programs[settings.frisbee.engine])
