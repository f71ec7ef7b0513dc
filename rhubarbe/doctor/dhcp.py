"""DHCP leases, where the server's file can be read: each node has the address of the inventory."""

import errno
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.doctor.findings import skipped, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import why
from rhubarbe.events import Finding
from rhubarbe.inventory import is_address
from rhubarbe.shared.own import read_file

LARGEST = 8 << 20
USUAL = (
    Path("/var/lib/misc/dnsmasq.leases"),
    Path("/var/lib/dhcp/dhcpd.leases"),
    Path("/var/lib/kea/kea-leases4.csv"),
)
_ISC = re.compile(r"^lease (?P<ip>[\d.]+) \{(?P<body>[^}]*)\}", re.MULTILINE)
_MAC = re.compile(r"hardware ethernet ([0-9a-f:]{17});", re.IGNORECASE)
_FREE = re.compile(r"^\s*binding state (free|expired|released|abandoned);", re.MULTILINE)


async def look(site: Site) -> list[Finding]:
    """Read the file that is configured, else the usual ones."""
    configured = site.settings.networking.dhcp_leases
    places = (configured,) if configured else USUAL
    found: list[Finding] = []
    for place in places:
        try:
            text = await in_passing(site.limit_s, _text, place)
        except FileNotFoundError as error:
            if configured:
                found.append(wrong(f"{place}: {why(error)}", advice=_SETTING))
        except OSError as error:
            found.append(skipped(f"{place}: {why(error)}"))
        else:
            found += _judged(site, place, _leases(text))
    return found or [
        skipped("no server notes leases here; dhcp_leases in [networking] names a file")
    ]


_SETTING = "see dhcp_leases in [networking]"


def _text(place: Path) -> str:
    content = read_file(place, LARGEST)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, "", str(place))
    return content.decode("ascii", "replace")


def _judged(site: Site, place: Path, leases: Mapping[str, str]) -> list[Finding]:
    owners = {address: mac for mac, address in leases.items()}
    found = []
    for entry in site.entries:
        mac, ip = entry.control.mac, entry.control.ip
        if leases.get(mac, ip) != ip:
            found.append(
                wrong(
                    f"{entry.name} ({mac}) has a lease of {leases[mac]} in {place}, and {ip} in the"
                    " inventory",
                    advice=f"have the server give it that one: dhcp-host={mac},{ip} for dnsmasq",
                )
            )
        elif owners.get(ip, mac) != mac:
            found.append(
                wrong(
                    f"{ip} of {entry.name} is leased to {owners[ip]} in {place}, and not to {mac}",
                    advice=f"keep it for the node: dhcp-host={mac},{ip} for dnsmasq; or correct the"
                    " MAC address in the inventory",
                )
            )
    known = sum(entry.control.mac in leases for entry in site.entries)
    return found or [
        well(f"{place}: {known} of {len(site.entries)} nodes have a lease, and theirs")
    ]


def _leases(text: str) -> dict[str, str]:
    """Return the address of each MAC address, by whichever server's file it is."""
    readers: tuple[Callable[[str], dict[str, str]], ...] = (_of_isc, _of_kea, _of_dnsmasq)
    return next(filter(None, (read(text) for read in readers)), {})


def _of_dnsmasq(text: str) -> dict[str, str]:
    """Read lines such as `1764380000 02:ab:00:01:00:01 10.77.1.2 fit01 *`."""
    lines = [line.split() for line in text.splitlines()]
    enough = 3
    return {
        words[1].lower(): words[2]
        for words in lines
        if len(words) >= enough and is_address(words[2])
    }


def _of_isc(text: str) -> dict[str, str]:
    return {
        mac[1].lower(): lease["ip"]
        for lease in _ISC.finditer(text)
        if (mac := _MAC.search(lease["body"])) and not _FREE.search(lease["body"])
    }


def _of_kea(text: str) -> dict[str, str]:
    """Read lines of `address,hwaddr,...`, of which the last of an address counts."""
    if not text.startswith("address,hwaddr"):
        return {}
    rows = [line.split(",") for line in text.splitlines()[1:]]
    return {row[1].lower(): row[0] for row in rows if len(row) > 1 and is_address(row[0])}
