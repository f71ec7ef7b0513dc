"""Ports that a load and a save need: one of the groups' for its server, any for a collector."""

import socket

from rhubarbe.config.settings import EngineName
from rhubarbe.doctor.findings import skipped, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import why
from rhubarbe.events import Finding
from rhubarbe.gateway.engines.channels import channels

UDPCAST_PORTS = 2


async def look(site: Site) -> list[Finding]:
    """Bind each, for a moment."""
    if not site.address:
        return [skipped("we have no address towards the nodes: see network")]
    return [*_groups(site), _collector(site)]


def _groups(site: Site) -> list[Finding]:
    engine, networking = site.settings.frisbee.engine, site.settings.networking
    if engine is EngineName.ARIA2:
        return []
    ports = UDPCAST_PORTS if engine is EngineName.UDPCAST else 1
    all_of_them = list(channels(networking, ports))
    free = sum(not _fault(socket.SOCK_DGRAM, site.address, each.port) for each in all_of_them)
    if free:
        return [well(f"{free} of {len(all_of_them)} ports for images are free (UDP)")]
    first, last = min(each.port for each in all_of_them), max(each.port for each in all_of_them)
    fault = _fault(socket.SOCK_DGRAM, site.address, all_of_them[0].port)
    return [
        wrong(
            f"no UDP port from {first} to {last} is free at {site.address}: {fault}",
            advice=f"see who has them (ss -lunp 'sport >= :{first} and sport <= :{last}'), or set"
            " pattern_port in [networking] to others",
        )
    ]


def _collector(site: Site) -> Finding:
    if fault := _fault(socket.SOCK_STREAM, site.address, 0):
        return wrong(
            f"no TCP port can be had at {site.address}, where a save collects its image: {fault}",
            advice="see ip -br address, and local_control_ip in [networking]",
        )
    return well(f"TCP ports for what is saved can be had at {site.address}")


def _fault(kind: socket.SocketKind, address: str, port: int) -> str:
    try:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind((address, port))
    except OSError as error:
        return why(error)
    return ""
