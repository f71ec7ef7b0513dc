"""What a gateway is to be: by what the operator says, else what was said before, else is found."""

import ipaddress
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhubarbe.config.layers import load_site_settings
from rhubarbe.config.settings import Settings
from rhubarbe.errors import GatewayError, why
from rhubarbe.inventory import Entry, load_inventory
from rhubarbe.node.kinds import driver_faults
from rhubarbe.setup import asking, files, network, texts
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.record import Record
from rhubarbe.setup.servers import Servers, find_servers
from rhubarbe.setup.step import Verdict

CONFIGURATION = Path("/etc/rhubarbe/rhubarbe.conf")
USUAL_TFTP, OUR_TFTP = Path("/srv/tftp"), Path("/tftpboot")
WAYS = ("serve", "proxy", "none")
ADDED = "add"
"""To what the site's dnsmasq serves already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator says; empty where nothing."""

    interface: str = ""
    address: ipaddress.IPv4Interface | None = None
    dhcp: str = ""
    tftp_root: Path | None = None
    inventory: Path | None = None
    group: str = ""
    users: Sequence[str] = ()
    ramdisk: Path | None = None
    kernel: str = ""
    firmware: Sequence[str] = ()
    wants_ramdisk_anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is decided."""

    settings: Settings
    has_configuration: bool
    servers: Servers
    interface: str
    address: ipaddress.IPv4Interface
    dhcp: str
    tftp_root: Path
    has_router: bool
    group: str
    kernel: str
    inventory: str  # the text of a new one; empty where there is one
    nodes: Sequence[Entry]
    found: Sequence[str]  # lines about what was found out

    @property
    def links(self) -> Path:
        """Where pxelinux looks for the link of a node."""
        return self._set("pxelinux", self.tftp_root / "pxelinux.cfg")

    @property
    def grub(self) -> Path:
        """Where GRUB looks for the link of a node."""
        return self._set("grub", self.tftp_root / "grub")

    @property
    def ipxe(self) -> Path:
        """Where iPXE, if it is told to, looks for the link of a node."""
        return self._set("ipxe", self.tftp_root / "ipxe")

    def _set(self, section: str, usual: Path) -> Path:
        """Return `config_dir` of a section, if the site has set it."""
        if (section, "config_dir") not in self.settings.origins:
            return usual
        path: Path = getattr(self.settings, section).config_dir
        return path

    @property
    def is_alone(self) -> bool:
        """Whether dnsmasq does nothing but what we have it do."""
        return not self.servers.dnsmasq.is_site_s

    @property
    def serves_tftp(self) -> bool:
        """Whether our part of dnsmasq's configuration has it serve TFTP."""
        return not self.servers.tftp

    @property
    def needs_dnsmasq(self) -> bool:
        """Whether there is anything for it to do."""
        return self.serves_tftp or self.dhcp != "none"


def decide(wishes: Wishes, machine: Machine, record: Record) -> Site:
    """Find out what was not said; raises GatewayError, ConfigError or InventoryError.

    What was decided is in `record.answers` then, for the next time.
    """
    settings = load_site_settings(machine.root)
    servers = find_servers(machine)
    answers, found = record.answers, []
    inventory, nodes = _inventory(wishes, record, settings)
    attached = _attached(wishes, machine, answers, nodes)
    if attached.name != answers.get("interface"):
        found.append(f"the nodes are on {attached}")
    if not inventory and not nodes:
        inventory = texts.inventory_in(
            attached.network, (settings.testbed.regularname, settings.testbed.rebootname)
        )
        nodes = _read(inventory, settings)
    dhcp = wishes.dhcp or answers.get("dhcp") or _dhcp(machine, servers, attached.name, found)
    has_router = answers.get("router", network.forwards())
    group, kernel = (
        wishes.group or answers.get("group", "rhubarbe"),
        wishes.kernel or answers.get("kernel", "full"),
    )
    root = _tftp_root(wishes, machine, answers, servers, settings)
    if not servers.tftp and (letters := texts.misread_in(str(root))):
        raise GatewayError(
            f"{root}: dnsmasq's configuration cannot have {letters} in the path of what TFTP"
            " serves: say another, --tftp-root DIR"
        )
    answers |= {"interface": attached.name, "address": str(attached.address), "dhcp": dhcp}
    answers |= {"tftp_root": str(root), "router": has_router, "group": group, "kernel": kernel}
    return Site(
        settings=settings,
        has_configuration=machine.at(CONFIGURATION).exists(),
        servers=servers,
        interface=attached.name,
        address=attached.address,
        dhcp=dhcp,
        tftp_root=root,
        has_router=has_router,
        group=group,
        kernel=kernel,
        inventory=inventory,
        nodes=nodes,
        found=found,
    )


def _inventory(wishes: Wishes, record: Record, settings: Settings) -> tuple[str, Sequence[Entry]]:
    """Return the text of an inventory to be written, and the nodes of it, or of the site's."""
    there = record.machine.at(settings.testbed.inventory_path)
    if wishes.inventory is not None:
        try:
            text = wishes.inventory.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise GatewayError(f"--inventory {wishes.inventory}: {why(error)}") from error
        nodes = list(load_inventory(wishes.inventory, settings.testbed.regularname))
        for fault in driver_faults(nodes, settings):
            raise GatewayError(f"--inventory {wishes.inventory}: {fault}")
        wanted = files.digest_of(text.encode())
        path = settings.testbed.inventory_path
        if files.look_at(record.machine, record, path, wanted).verdict == Verdict.LEAVE:
            raise GatewayError(
                f"{there}: is another's, or changed by hand: move it away, or leave out --inventory"
            )
        return text, nodes
    if there.exists():
        return "", list(load_inventory(there, settings.testbed.regularname))
    return "", []


def _read(inventory: str, settings: Settings) -> Sequence[Entry]:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(inventory)
        file.flush()
        return list(load_inventory(file.name, settings.testbed.regularname))


def _attached(
    wishes: Wishes, machine: Machine, answers: dict[str, Any], nodes: Sequence[Entry]
) -> network.Attached:
    """Return the interface to the nodes; raises GatewayError where it cannot be known."""
    if wishes.address is not None and wishes.interface:
        return network.Attached(wishes.interface, wishes.address, is_way_out=False)
    if not machine.is_here:
        if "interface" in answers:
            address = ipaddress.IPv4Interface(answers["address"])
            return network.Attached(answers["interface"], address, is_way_out=False)
        raise GatewayError("with --root, say --interface and --address: they are another machine's")
    there = network.attached()
    if name := wishes.interface or answers.get("interface"):
        if chosen := [each for each in there if each.name == name]:
            return chosen[0]
        has = ", ".join(map(str, there)) or "none"
        raise GatewayError(f"interface {name}: has no IPv4 address here; those that have: {has}")
    return likely(there, [ipaddress.IPv4Address(entry.control.ip) for entry in nodes])


def likely(
    there: Sequence[network.Attached], addresses: Sequence[ipaddress.IPv4Address]
) -> network.Attached:
    """Return the interface on which nodes of these addresses are; raises GatewayError."""
    of_nodes = [each for each in there if any(map(each.network.__contains__, addresses))]
    inside = [each for each in there if not each.is_way_out]
    for candidates in (of_nodes, inside, there):
        if len(candidates) == 1:
            return candidates[0]
    has = ", ".join(map(str, there)) or "none has an IPv4 address"
    raise GatewayError(f"which interface are the nodes on? say --interface NAME; there are: {has}")


def _dhcp(machine: Machine, servers: Servers, interface: str, found: list[str]) -> str:
    """Find out what is ours to do about DHCP."""
    if servers.dhcp == "dnsmasq":
        found.append("dnsmasq serves DHCP here already: boot files are added to that")
        return ADDED
    if servers.dhcp:
        found.append(f"{servers.dhcp} serves DHCP on this machine: it stays so")
        return "none"
    if not machine.is_here:
        return "serve"
    try:
        other = asking.who_serves_dhcp(interface)
    except PermissionError:
        found.append("only root can ask whether another machine serves DHCP there: not asked")
        return "serve"
    except OSError as error:
        raise GatewayError(
            f"{interface}: cannot be asked who serves DHCP there: {why(error)}"
        ) from error
    if other:
        found.append(f"{other} serves DHCP there: it gives addresses, and dnsmasq only boot files")
        return "proxy"
    found.append("nobody serves DHCP there: dnsmasq will, to the nodes of the inventory only")
    return "serve"


def _tftp_root(
    wishes: Wishes,
    machine: Machine,
    answers: dict[str, Any],
    servers: Servers,
    settings: Settings,
) -> Path:
    served = servers.tftp_root
    if wishes.tftp_root is not None:
        if served is not None and served != wishes.tftp_root:
            raise GatewayError(f"--tftp-root {wishes.tftp_root}: {servers.tftp} serves {served}")
        return wishes.tftp_root
    if served is not None:
        return served
    if "tftp_root" in answers:
        return Path(answers["tftp_root"])
    if ("pxelinux", "config_dir") in settings.origins:
        return settings.pxelinux.config_dir.parent
    ours = machine.at(OUR_TFTP)
    return OUR_TFTP if ours.is_dir() and any(ours.iterdir()) else USUAL_TFTP
