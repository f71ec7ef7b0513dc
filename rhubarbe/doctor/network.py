"""Our address towards the nodes: whether there is one for all of them, on their network."""

import socket
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.doctor.findings import nodes, told, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import GatewayError
from rhubarbe.events import Finding
from rhubarbe.gateway.services.addresses import local_address_towards, why_not_ours
from rhubarbe.inventory import Entry
from rhubarbe.selector import fold

ROUTES = Path("/proc/net/route")
HAS_GATEWAY = 0x2  # RTF_GATEWAY


async def look(site: Site) -> list[Finding]:
    """Ask the routing table for the way to each node; nothing is sent."""
    configured = site.settings.networking.local_control_ip
    if configured and (lack := why_not_ours(configured)):
        text = f"local_control_ip = {configured} in [networking] is not ours: {lack}"
        return [wrong(text, advice="set it to one that ip -br address shows, or remove it")]
    ours: dict[str, list[int]] = {}
    far: list[Entry] = []
    for entry in site.entries:
        try:
            address = local_address_towards(entry.control.ip)
        except GatewayError as error:
            advice = "connect the control interface and give it its address: ip -br address"
            return [told(str(error), advice)]
        ours.setdefault(address, []).append(entry.number)
        if _router(entry.control.ip):
            far.append(entry)
    return list(_judged(site, configured, ours, far))


def _judged(
    site: Site, configured: str, ours: dict[str, list[int]], far: list[Entry]
) -> Iterator[Finding]:
    if far and site.is_multicast:
        them, router = nodes(entry.number for entry in far), _router(far[0].control.ip)
        yield wrong(
            f"the router {router} is on the way to {them}, and multicast does not pass one",
            advice="is the control interface up (ip -br address)? If it has to be so, take"
            " engine = aria2 in [frisbee]",
        )
    elif len(ours) > 1 and not configured:
        ways = "; ".join(f"{address} to {fold(numbers)}" for address, numbers in ours.items())
        yield wrong(
            f"nodes are reached from several of our addresses ({ways}), and a load has one",
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
    else:
        yield well(f"nodes reach us at {configured or ', '.join(ours)}")


def _router(ip: str) -> str:
    """Return the router on the way to an address; empty where it is on a network of ours."""
    wanted, best, router = _number(socket.inet_aton(ip)), -1, ""
    try:
        lines = ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return ""
    for line in lines:
        _, target, gateway, flags, _, _, _, mask, *_ = line.split()
        width = int(mask, 16).bit_count()
        if wanted & int(mask, 16) == int(target, 16) and width > best:
            best, is_far = width, int(flags, 16) & HAS_GATEWAY
            address = int(gateway, 16).to_bytes(4, "little")
            router = socket.inet_ntoa(address) if is_far else ""
    return "" if ip.startswith("127.") else router


def _number(address: bytes) -> int:
    return int.from_bytes(address, "little")  # as the kernel prints it, here
