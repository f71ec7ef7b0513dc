"""Multicast on the control interface: a real packet to a group, out and back."""

from rhubarbe.doctor.findings import skipped, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import why
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.echo import echo
from rhubarbe.gateway.engines.channels import channels

HEARD_WITHIN_S = 2.0


async def look(site: Site) -> list[Finding]:
    """Send to the group that a load might take, and hear it there."""
    if not site.is_multicast:
        return [skipped("engine = aria2 in [frisbee] needs none")]
    if not site.address:
        return [skipped("we have no address towards the nodes: see network")]
    channel = next(channels(site.settings.networking))
    where = f"{channel.group} from {site.address}"
    try:
        heard = await echo(channel.group, site.address, min(HEARD_WITHIN_S, site.limit_s))
    except OSError as error:
        return [wrong(f"{where}: {why(error)}", *_repair(error, site))]
    if not heard:
        return [
            wrong(
                f"{where}: what was sent does not come back in {HEARD_WITHIN_S:g} s",
                "iptables -I OUTPUT -d 224.0.0.0/4 -p udp -j ACCEPT;"
                " iptables -I INPUT -d 224.0.0.0/4 -p udp -j ACCEPT",
            )
        ]
    return [well(f"{where}: out and back")]


def _repair(error: OSError, site: Site) -> tuple[str]:
    """Return a route by the control interface; or what a filter on this machine has to let pass."""
    if isinstance(error, PermissionError):
        return ("iptables -I OUTPUT -d 224.0.0.0/4 -p udp -j ACCEPT",)
    interface = f"$(ip -o -4 address show to {site.address} | cut -d' ' -f2)"
    return (f"ip route replace 224.0.0.0/4 dev {interface}",)
