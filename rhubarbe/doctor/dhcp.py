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
# dhcpd notes a lease once more whenever it changes: the last of an address counts.
_ISC_BEGINS = re.compile(r"lease ([\d.]+) \{")
_ISC_OTHERS = re.compile(r"(authoring-byte-order|server-duid|failover peer|host|ia-\w+)\s")
_ISC_MAC = re.compile(r"hardware ethernet ([0-9a-f:]{17});", re.IGNORECASE)
_ISC_FREE = re.compile(r"binding state (free|expired|released|abandoned);")
_DNSMASQ_DUID = re.compile(r"duid [0-9a-f:]+")
_KEA_BEGINS = "address,hwaddr"


async def look(site: Site) -> list[Finding]:
    """Read the file that is configured, else the usual ones."""
    configured = site.settings.networking.dhcp_leases
    places = (configured,) if configured else USUAL
    found: list[Finding] = []
    for place in places:
        try:
            leases = await in_passing(site.limit_s, _leases_in, place)
        except FileNotFoundError as error:
            if configured:
                found.append(wrong(f"{place}: {why(error)}", advice=_SETTING))
        except OSError as error:
            found.append(skipped(f"{place}: {why(error)}"))
        except ValueError:
            found.append(
                wrong(
                    f"{place}: there is no lease in it that dnsmasq, ISC's or Kea's server has"
                    " written, though it is not empty: nothing is known of the nodes'",
                    advice=_SETTING,
                )
            )
        else:
            found += _judged(site, place, leases)
    return found or [
        skipped("no server notes leases here; dhcp_leases in [networking] names a file")
    ]


_SETTING = "see dhcp_leases in [networking]"


def _leases_in(place: Path) -> dict[str, str]:
    """Return the leases in a file; raises OSError, or ValueError where those of no server are."""
    content = read_file(place, LARGEST)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, "", str(place))
    return leases_in(content.decode("ascii", "replace"))


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


def leases_in(text: str) -> dict[str, str]:
    """Return the address of each MAC address, by whichever server's file it is.

    There may be none. Raises ValueError for a text that no server has written.
    """
    readers: tuple[Callable[[list[str]], dict[str, str] | None], ...] = (_kea, _isc, _dnsmasq)
    stripped = (line.strip() for line in text.splitlines())
    lines = [line for line in stripped if line and not line.startswith("#")]
    for read in readers if lines else ():
        if (leases := read(lines)) is not None:
            return leases
    if lines:
        raise ValueError("no lease")
    return {}


def _dnsmasq(lines: list[str]) -> dict[str, str] | None:
    """Read lines such as `1764380000 02:ab:00:01:00:01 10.77.1.2 fit01 *`; None without any."""
    enough = 3
    notes = [words for line in lines if len(words := line.split()) >= enough]
    leases = {
        words[1].lower(): words[2]
        for words in notes
        if words[0].isdecimal() and is_address(words[2])
    }
    # Before leases of IPv6, if it gives any, is who it is.
    return leases if leases or any(map(_DNSMASQ_DUID.fullmatch, lines)) else None


def _isc(lines: list[str]) -> dict[str, str] | None:
    """Read blocks such as `lease 10.77.1.2 { ... hardware ethernet MAC; ... }`; None without."""
    macs: dict[str, str] = {}  # by the address, while it is leased
    address, is_free, is_isc_s = "", False, False
    for line in lines:
        if begins := _ISC_BEGINS.match(line):
            address, is_free, is_isc_s = begins[1], False, True
            macs.pop(address, None)
        elif _ISC_OTHERS.match(line):
            address, is_isc_s = "", True
        elif _ISC_FREE.match(line):
            is_free = True
            macs.pop(address, None)
        elif (mac := _ISC_MAC.match(line)) and address and not is_free:
            macs[address] = mac[1].lower()
    return {mac: address for address, mac in macs.items()} if is_isc_s else None


def _kea(lines: list[str]) -> dict[str, str] | None:
    """Read lines of `address,hwaddr,client_id,valid_lifetime,...`; None without that head.

    The last of an address counts; of a lifetime of 0, it is given back.
    """
    if not lines[0].startswith(_KEA_BEGINS):
        return None
    macs: dict[str, str] = {}
    for address, mac, _, lifetime, *_ in (f"{line},,,".split(",") for line in lines[1:]):
        if is_address(address):
            macs[address] = "" if lifetime == "0" else mac.lower()
    return {mac: address for address, mac in macs.items() if mac}
