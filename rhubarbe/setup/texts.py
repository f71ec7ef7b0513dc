"""What is written into the files of a gateway."""

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rhubarbe.config.template import template
from rhubarbe.inventory import Entry, inventory_template

HEAD = "# Written by rhubarbe-setup, which leaves it alone once it was changed by hand.\n"
HOSTS = Path("/etc/rhubarbe/dnsmasq.hosts")
LOG = Path("/var/log/rhubarbe/dnsmasq.log")
# Of processors and firmwares, in DHCP's option 93: 64-bit PCs, also by HTTP; 64-bit Arm.
_MATCHES = """\
dhcp-match=set:rhubarbe-x64,option:client-arch,7
dhcp-match=set:rhubarbe-x64,option:client-arch,9
dhcp-match=set:rhubarbe-arm64,option:client-arch,11
"""
_BOOT_FILES = """\
dhcp-boot=tag:rhubarbe,tag:rhubarbe-x64,shimx64.efi
dhcp-boot=tag:rhubarbe,tag:rhubarbe-arm64,shimaa64.efi
dhcp-boot=tag:rhubarbe,tag:!rhubarbe-x64,tag:!rhubarbe-arm64,pxelinux.0
"""
_PROXY_FILES = """\
pxe-prompt="rhubarbe",0
pxe-service=tag:rhubarbe,x86PC,"rhubarbe",pxelinux.0
pxe-service=tag:rhubarbe,X86-64_EFI,"rhubarbe",shimx64.efi
pxe-service=tag:rhubarbe,BC_EFI,"rhubarbe",shimx64.efi
pxe-service=tag:rhubarbe,ARM64_EFI,"rhubarbe",shimaa64.efi
"""
# iPXE, in many cards, would wait for a proxy some seconds: there is none.
_NO_PROXY = "dhcp-option-force=tag:rhubarbe,encap:175,176,1b\n"
BOOT_FROM_DISK = """\
DEFAULT local
LABEL local
COM32 chain.c32
APPEND hd0
"""
# Where resolvconf is installed, dnsmasq would be made this machine's resolver, though it is none.
DROP_IN = """\
[Service]
# Here it serves no DNS, so nothing may make it this machine's resolver.
ExecStartPost=
Restart=on-failure
"""
ROTATED = f"""\
{LOG} {{
    weekly
    rotate 8
    missingok
    notifempty
    compress
    delaycompress
    create 0640 dnsmasq adm
    postrotate
        [ ! -f /run/dnsmasq/dnsmasq.pid ] || kill -s USR2 "$(cat /run/dnsmasq/dnsmasq.pid)"
    endscript
}}
"""
FOR_ISC = """\
option rhubarbe-arch code 93 = unsigned integer 16;
next-server {address};
if option rhubarbe-arch = 00:07 or option rhubarbe-arch = 00:09 {{ filename "shimx64.efi"; }}
elsif option rhubarbe-arch = 00:0b {{ filename "shimaa64.efi"; }}
else {{ filename "pxelinux.0"; }}
"""


def for_dnsmasq(
    where: tuple[str, ipaddress.IPv4Network],
    *,
    dhcp: str,
    tftp_root: Path | None,
    is_alone: bool,
    has_router: bool,
) -> str:
    """Return our part of dnsmasq's configuration: on an interface, in its network.

    `dhcp` is serve, proxy, add (to what the site's dnsmasq does) or none; `tftp_root` is None where
    something serves TFTP already. Where it `is_alone`, dnsmasq does nothing else.
    """
    interface, network = where
    parts = [HEAD]
    if is_alone:
        parts += ["# It serves no DNS: nothing is in its way on port 53, and it is in nothing's.\n"]
        parts += ["port=0\n", f"interface={interface}\n", "bind-dynamic\n"]
        parts += [f"log-facility={LOG}\n"] + (["log-dhcp\n"] if dhcp != "none" else [])
    if tftp_root is not None:
        parts += [
            f"enable-tftp\ntftp-root={tftp_root}\n" if is_alone else _tftp(interface, tftp_root)
        ]
        parts += ["tftp-no-fail\n"]
    if dhcp != "none":
        parts += [f"dhcp-hostsfile={HOSTS}\n"]
    if dhcp == "serve":
        parts += [f"dhcp-range={network.network_address},static,{network.netmask},12h\n"]
        parts += ["dhcp-authoritative\n"] if is_alone else []
        if not has_router:  # this machine passes nothing on, so it is no way out
            parts += ["dhcp-option=tag:rhubarbe,option:router\n"]
    if dhcp == "proxy":
        parts += [f"dhcp-range={network.network_address},proxy,{network.netmask}\n", _PROXY_FILES]
    elif dhcp != "none":
        parts += [_MATCHES, _BOOT_FILES, _NO_PROXY]
    return "".join(parts)


def misread_in(path: str) -> str:
    """Name the letters of a path that mean something else to dnsmasq; empty where there are none.

    Blanks, commas, quotes, backslashes, what begins a comment, and what is not printed.
    """
    letters = (each for each in path if each in ' ,"\\#' or not each.isprintable())
    return ", ".join(dict.fromkeys("a blank" if each.isspace() else repr(each) for each in letters))


def _tftp(interface: str, root: Path) -> str:
    return f"enable-tftp={interface}\ntftp-root={root},{interface}\n"


def for_hosts(entries: Iterable[Entry]) -> str:
    """Return the addresses of the nodes, as dnsmasq reads them."""
    return HEAD + "".join(
        f"{entry.control.mac},set:rhubarbe,{entry.control.ip},{entry.control.hostname}\n"
        for entry in entries
    )


def inventory_in(network: ipaddress.IPv4Network, names: tuple[str, str]) -> str:
    """Return an inventory of two nodes to start from, whose addresses are in a network."""
    entries = json.loads(inventory_template(*names))
    size = network.num_addresses
    for number, entry in enumerate(entries, start=1):
        entry["control"]["ip"] = str(network[min(100, size // 2) + number])
    return json.dumps(entries, indent=2) + "\n"


Values = Mapping[tuple[str, str], str]


def configuration(values: Values) -> str:
    """Return the template of the configuration, with these values, by section and key, set."""
    lines: list[str] = []
    section = ""
    for line in template().splitlines():
        lines.append(line)
        if line.startswith("["):
            section = line.strip("[]")
        key = line.removeprefix("# ").partition(" =")[0]
        if line.startswith("# ") and (section, key) in values:
            lines.append(f"{key} = {values[section, key]}")
    return "\n".join(lines) + "\n"


def common_beginning(names: Sequence[str]) -> str:
    """Return the letters that all names begin with, if a number follows in all of them."""
    beginnings = {name.rstrip("0123456789") for name in names}
    (beginning, *others) = beginnings or {""}
    return "" if others or not beginning.isalpha() else beginning
