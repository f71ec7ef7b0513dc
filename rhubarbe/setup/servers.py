"""What serves DHCP and TFTP on a machine already, by the files that configure it."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rhubarbe.setup.machine import Machine
from rhubarbe.shared.directory import MOST_NAMES

SNIPPET = Path("/etc/dnsmasq.d/rhubarbe.conf")
DNSMASQ_CONF = "/etc/dnsmasq.conf"
# What dnsmasq leaves out of its directory: drafts of editors, and what dpkg keeps.
_LEFT_OUT = re.compile(r"\..*|#.*#|.*~|.*\.dpkg-(dist|old|new)")
_ABOUT_FILES = ("conf-dir", "conf-file")
# Other servers of DHCP: the package, and the file without which it serves nothing.
_DHCP = {
    "isc-dhcp-server": (
        Path("/etc/dhcp/dhcpd.conf"),
        re.compile(r"(?m)^\s*(subnet|shared-network)\b"),
    ),
    "kea-dhcp4-server": (Path("/etc/kea/kea-dhcp4.conf"), re.compile(r'"subnet"\s*:')),
    "udhcpd": (Path("/etc/udhcpd.conf"), re.compile(r"(?m)^\s*start\b")),
}
# Other servers of TFTP: the package, what configures it, and which variable has the directory.
_TFTP = {
    "tftpd-hpa": (Path("/etc/default/tftpd-hpa"), "TFTP_DIRECTORY"),
    "atftpd": (Path("/etc/default/atftpd"), "OPTIONS"),
}


@dataclass(frozen=True, slots=True)
class Dnsmasq:
    """What the site has dnsmasq do, our part left out: each option with its values, in order."""

    options: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_site_s(self) -> bool:
        """Whether the site has it do anything."""
        return bool(self.options)

    @property
    def serves_dhcp(self) -> bool:
        """Whether it gives addresses."""
        return "dhcp-range" in self.options

    @property
    def tftp_root(self) -> Path | None:
        """The directory that it serves by TFTP; None where it does not."""
        roots = [value.split(",")[0] for value in self.options.get("tftp-root", [])]
        return Path(roots[0]) if "enable-tftp" in self.options and roots else None


@dataclass(frozen=True, slots=True)
class Servers:
    """What serves on a machine; a name of a package, or nothing."""

    dnsmasq: Dnsmasq
    dhcp: str = ""
    tftp: str = ""
    tftp_root: Path | None = None


def find_servers(machine: Machine) -> Servers:
    """Read what is configured."""
    dnsmasq = Dnsmasq(_dnsmasq_options(machine))
    tftp, root = next(_tftp(machine), ("", None))
    if dnsmasq.tftp_root is not None and not tftp:
        tftp, root = "dnsmasq", dnsmasq.tftp_root
    dhcp = next(_dhcp(machine), "dnsmasq" if dnsmasq.serves_dhcp else "")
    return Servers(dnsmasq, dhcp, tftp, root)


def _dnsmasq_options(machine: Machine) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for path in (Path(DNSMASQ_CONF), *_dropped_in(machine)):
        for line in machine.text_of(path).splitlines():
            words = re.sub(r"(^|\s)#.*", "", line).strip()
            name, _, value = words.partition("=")
            if words and name.strip() not in _ABOUT_FILES:
                options.setdefault(name.strip(), []).append(value.strip())
    return options


def _dropped_in(machine: Machine) -> Iterator[Path]:
    directory = machine.at(SNIPPET.parent)
    if directory.is_dir():
        names = sorted(path.name for path in directory.iterdir())[:MOST_NAMES]
        for name in names:
            if name != SNIPPET.name and not _LEFT_OUT.fullmatch(name):
                yield SNIPPET.parent / name


def _dhcp(machine: Machine) -> Iterator[str]:
    for package in machine.installed(list(_DHCP)):
        path, sign = _DHCP[package]
        if sign.search(machine.text_of(path)):
            yield package


def _tftp(machine: Machine) -> Iterator[tuple[str, Path]]:
    for package in machine.installed(list(_TFTP)):
        path, variable = _TFTP[package]
        found = re.search(rf"(?m)^{variable}=(.*)$", machine.text_of(path))
        words = _words(found[1]) if found else []
        directories = [word for word in words if word.startswith("/")]
        yield package, Path(directories[-1] if directories else "/srv/tftp")


def _words(text: str) -> Sequence[str]:
    try:
        return shlex.split(" ".join(shlex.split(text)))
    except ValueError:
        return []


def warnings(servers: Servers, machine: Machine, interface: str) -> Iterator[str]:
    """Yield what is known to go wrong with what is there, and its cure, a line each."""
    options = servers.dnsmasq.options
    if "tftp-secure" in options and servers.tftp == "dnsmasq":
        yield (
            "tftp-secure in the configuration of dnsmasq: it serves no file that is not its own"
            " user's; remove it, or the nodes are refused their boot files"
        )
    if servers.dnsmasq.is_site_s and interface in options.get("no-dhcp-interface", []):
        yield f"no-dhcp-interface={interface} in the configuration of dnsmasq: remove it"
    defaults = machine.text_of("/etc/default/dnsmasq")
    if defaults and not re.search(r"(?m)^CONFIG_DIR=/etc/dnsmasq\.d", defaults):
        yield (
            "CONFIG_DIR in /etc/default/dnsmasq does not name /etc/dnsmasq.d: dnsmasq does not read"
            f" {SNIPPET}; write there: CONFIG_DIR=/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new"
        )
    for path in _dropped_in(machine):
        if path.suffix in (".bak", ".orig", ".save", ".old"):
            yield f"{path}: dnsmasq reads it, too, though it looks like a copy; move it elsewhere"
