"""Our address towards the nodes: whether there is one for all of them, on their network.

And whether images leave by the interface that leads to the nodes.
"""

import contextlib
from collections.abc import Iterator, Mapping

from rhubarbe.doctor.findings import nodes, told, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import GatewayError
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.routes import Route, route_towards
from rhubarbe.gateway.engines.channels import channels
from rhubarbe.gateway.services.addresses import local_address_towards, why_not_ours
from rhubarbe.inventory import Entry
from rhubarbe.selector import fold

Ways = Mapping[Entry, Route]
"""The route to each node."""


async def look(site: Site) -> list[Finding]:
    """Ask the kernel for the way to each node, and to the images' group; nothing is sent."""
    configured = site.settings.networking.local_control_ip
    if configured and (lack := why_not_ours(configured)):
        text = f"local_control_ip = {configured} in [networking] is not ours: {lack}"
        return [wrong(text, advice="set it to one that ip -br address shows, or remove it")]
    ours: dict[str, list[int]] = {}
    ways: dict[Entry, Route] = {}
    for entry in site.entries:
        try:
            address = local_address_towards(entry.control.ip)
        except GatewayError as error:
            advice = "connect the control interface and give it its address: ip -br address"
            return [told(str(error), advice)]
        ours.setdefault(address, []).append(entry.number)
        with contextlib.suppress(OSError):  # a kernel that does not say
            ways[entry] = route_towards(entry.control.ip)
    return list(_judged(site, configured, ours, ways))


def _judged(
    site: Site, configured: str, ours: dict[str, list[int]], ways: Ways
) -> Iterator[Finding]:
    far = [entry for entry, way in ways.items() if way.router]
    if far and site.is_multicast:
        them, router = nodes(entry.number for entry in far), ways[far[0]].router
        yield wrong(
            f"the router {router} is on the way to {them}, and multicast does not pass one",
            advice="is the control interface up (ip -br address)? If it has to be so, take"
            " engine = aria2 in [frisbee]",
        )
    elif len(ours) > 1 and not configured:
        several = "; ".join(f"{address} to {fold(numbers)}" for address, numbers in ours.items())
        yield wrong(
            f"nodes are reached from several of our addresses ({several}), and a load has one",
            advice="set local_control_ip in [networking], or load them apart",
        )
    elif configured and configured not in ours and site.is_multicast:
        usual = ", ".join(ours)
        origin = site.settings.origins.get(("networking", "local_control_ip"), "the configuration")
        yield wrong(
            f"local_control_ip = {configured} in [networking], but the way to the nodes is from"
            f" {usual}: images would leave by another interface",
            advice=f"set it to {usual} in {origin}, or remove it there",
        )
    elif site.is_multicast and (astray := _astray(site, configured or next(iter(ours), ""), ways)):
        yield astray
    else:
        yield well(f"nodes reach us at {configured or ', '.join(ours)}")


def _astray(site: Site, address: str, ways: Ways) -> Finding | None:
    """Tell of images that leave by another interface than the one that leads to some nodes.

    Those who send them have the kernel choose by our address, whatever route there is to the group.
    """
    group = next(channels(site.settings.networking)).group
    try:
        images = route_towards(group, address)
    except OSError:  # of which the check of multicast tells
        return None
    others = {entry: way for entry, way in ways.items() if way.interface != images.interface}
    if not others:
        return None
    return wrong(
        f"images for {group} leave by {images.interface}, which has {address}, and"
        f" {_by_interface(others)}",
        advice=f"ip route get {next(iter(others)).control.ip}, and ip route get {group} from"
        f" {address}, have to name one interface: correct the route to the nodes, or"
        " local_control_ip in [networking]",
    )


def _by_interface(ways: Ways) -> str:
    numbers: dict[str, list[int]] = {}
    for entry, way in ways.items():
        numbers.setdefault(way.interface, []).append(entry.number)
    return "; ".join(f"the way to {nodes(them)} is by {name}" for name, them in numbers.items())
