"""The plan: which steps make a gateway of this machine, in which order."""

import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.node.secrets import secrets_of
from rhubarbe.selector import fold
from rhubarbe.setup import texts
from rhubarbe.setup.accounts import MakeGroup, Member
from rhubarbe.setup.files import Copied, Links, TextFile
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.places import Place
from rhubarbe.setup.programs import Packages, Ramdisk
from rhubarbe.setup.servers import SNIPPET, warnings
from rhubarbe.setup.service import Restart, Served, Snippet
from rhubarbe.setup.site import CONFIGURATION, Site, Wishes
from rhubarbe.setup.step import GAP, Step
from rhubarbe.shared.state import SHARED

FOR_A_GROUP, STICKY_FOR_A_GROUP, FOR_MEMBERS = 0o2775, 0o1775, 0o640
POWER_PACKAGES = {"ipmi": "ipmitool", "snmp": "snmp"}  # what controls of these kinds run
PXELINUX = Path("/usr/lib/PXELINUX/pxelinux.0")
MODULES = Path("/usr/lib/syslinux/modules/bios")
MODULE_NAMES = ("ldlinux.c32", "chain.c32", "libcom32.c32", "libutil.c32")
TFTP_PACKAGES = ("pxelinux", "syslinux-common")
USERS_PATH = (Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))
MANUAL = Path("/usr/local/share/man/man1")
DROP_IN = Path("/etc/systemd/system/dnsmasq.service.d/rhubarbe.conf")
ROTATION = Path("/etc/logrotate.d/rhubarbe")
ETC = Path("/etc/rhubarbe")


def plan(site: Site, wishes: Wishes, machine: Machine) -> list[Step]:
    """Return the steps; what they need comes before them, in undoing after."""
    steps: list[Step] = [
        *_accounts(site, wishes),
        *_directories(site, machine),
        *_configuration(site, machine),
        *_dnsmasq(site, machine),
        *_boot_files(site, wishes),
        *(_commands(machine) if machine.is_here else ()),
        *([Restart()] if site.needs_dnsmasq else ()),
    ]
    once: dict[tuple[type[Step], str], Step] = {}
    for step in steps:  # several directories may lack the same one above them
        once.setdefault((type(step), step.words.partition(GAP)[0]), step)
    return list(once.values())


def _accounts(site: Site, wishes: Wishes) -> Iterator[Step]:
    yield MakeGroup(site.group)
    for user in wishes.users:
        yield Member(user, site.group)


def _place(machine: Machine, place: Place) -> Iterator[Step]:
    """Yield a directory after those above it that lack."""
    lacking = [path for path in place.path.parents if not machine.at(path).exists()]
    for path in reversed(lacking):
        yield Place(path, "on the way to the next one")
    yield place


def _directories(site: Site, machine: Machine) -> Iterator[Step]:
    state, images = site.settings.testbed.state_dir, site.settings.frisbee.images_dir
    group, members = site.group, f"members of {site.group}"
    for place in (
        Place(ETC, "configuration and inventory"),
        Place(state, "what commands tell each other of", SHARED, adopts=True),
        Place(
            images,
            f"images; {members} add theirs, and remove no others'",
            *(STICKY_FOR_A_GROUP, group),
            adopts=True,
        ),
        Place(site.tftp_root, "what TFTP serves"),
        Place(
            site.links,
            f"boot entries of BIOS nodes; {members} make links",
            *(FOR_A_GROUP, group),
            adopts=True,
        ),
        Place(
            site.grub,
            f"the same of UEFI nodes; {members} make links",
            *(FOR_A_GROUP, group),
            adopts=True,
        ),
        Place(
            site.ipxe,
            f"the same of nodes by iPXE; {members} make links",
            *(FOR_A_GROUP, group),
            adopts=True,
        ),
    ):
        yield from _place(machine, place)


def _configuration(site: Site, machine: Machine) -> Iterator[Step]:
    text = texts.configuration(_values(site))
    yield TextFile(CONFIGURATION, text, "all settings, these set", is_site_s=site.has_configuration)
    if site.inventory:
        path = site.settings.testbed.inventory_path
        why = f"{len(site.nodes)} nodes; for you to edit"
        if any(secret.is_plain for node in site.nodes for _, secret in secrets_of(node)):
            why += f"; only root and {site.group} can read it"
            yield TextFile(path, site.inventory, why, site.group, FOR_MEMBERS, is_secret=True)
        else:
            yield TextFile(path, site.inventory, why)
    kinds = {driver.kind for node in site.nodes for driver in node.power_drivers}
    yield from (Packages([POWER_PACKAGES[kind]]) for kind in sorted(kinds & POWER_PACKAGES.keys()))


def _values(site: Site) -> dict[tuple[str, str], str]:
    """Return what differs from the defaults."""
    wanted = {
        ("testbed", "regularname"): texts.common_beginning([n.name for n in site.nodes]),
        ("testbed", "rebootname"): texts.common_beginning(
            [n.cmc.hostname for n in site.nodes if n.cmc]
        ),
        ("testbed", "all_scope"): fold([node.number for node in site.nodes]),
        ("nodes", "netboot"): "both",
        ("pxelinux", "config_dir"): str(site.links),
        ("grub", "config_dir"): str(site.grub),
        ("ipxe", "config_dir"): str(site.ipxe),
    }
    return {place: value for place, value in wanted.items() if value}


def _dnsmasq(site: Site, machine: Machine) -> Iterator[Step]:
    if not site.needs_dnsmasq:
        return
    text = texts.for_dnsmasq(
        (site.interface, site.address.network),
        dhcp=site.dhcp,
        tftp_root=site.tftp_root if site.serves_tftp else None,
        is_alone=site.is_alone,
        has_router=site.has_router,
    )
    if site.dhcp != "none":
        hosts = texts.for_hosts(site.nodes)
        yield Served(TextFile(texts.HOSTS, hosts, "addresses of the nodes, by the inventory"))
    if site.is_alone:
        yield from _place(machine, Place(texts.LOG.parent, "the log of dnsmasq"))
        yield from _place(machine, Place(ROTATION.parent, "what rotates logs"))
        yield TextFile(ROTATION, texts.ROTATED, "rotates that log")
        yield from _place(machine, Place(DROP_IN.parent, "how systemd starts dnsmasq"))
        yield TextFile(DROP_IN, texts.DROP_IN, "how systemd starts it")
    yield from _place(machine, Place(SNIPPET.parent, "parts of dnsmasq's configuration"))
    yield Snippet(TextFile(SNIPPET, text, "what dnsmasq serves to the nodes"))
    yield Packages(["dnsmasq"])


def _boot_files(site: Site, wishes: Wishes) -> Iterator[Step]:
    root = site.tftp_root
    yield Packages(TFTP_PACKAGES)
    for source in (PXELINUX, *(MODULES / name for name in MODULE_NAMES)):
        yield Copied(root / source.name, source)
    default = TextFile(site.links / "default", texts.BOOT_FROM_DISK, "nodes boot from their disks")
    yield default
    settings = site.settings
    entries = [site.links / settings.pxelinux.frisbee_image, site.grub / settings.grub.entry]
    firmware = [word for name in wishes.firmware for word in ("--with-firmware", name)]
    yield Ramdisk(
        root,
        {"pxelinux.cfg": site.links, "grub": site.grub, "ipxe": site.ipxe},
        [root / "vmlinuz", root / "initrd", *entries],
        ["--kernel", site.kernel, *firmware],
        wishes.ramdisk,
        wishes.wants_ramdisk_anew,
    )


def _commands(machine: Machine) -> Iterator[Step]:
    """Yield links to our commands and their pages, where users do not find them yet."""
    binaries = Path(sys.executable).parent
    commands = sorted(binaries.glob("rhubarbe*"))
    if binaries in USERS_PATH or not commands:
        return
    yield Links(USERS_PATH[0], commands, "the commands, where users find them")
    pages = sorted((binaries.parent / "share/man/man1").glob("rhubarbe*.1"))
    if pages:
        yield from _place(machine, Place(MANUAL, "manual pages of this machine"))
        yield Links(MANUAL, pages, "their manual pages")


def by_hand(site: Site, machine: Machine) -> Iterator[str]:
    """Yield what is not for a program to decide, or known to be in the way, a line each."""
    yield from warnings(site.servers, machine, site.interface)
    network = site.address.network
    for node in site.nodes:
        address = node.control.ip
        if address == str(site.address.ip):
            yield f"{node.name}: has the address of this gateway in the inventory"
        elif not _is_in(address, network) and site.dhcp in ("serve", "proxy"):
            yield f"{node.name}: {address} is not in {network}: dnsmasq does not serve it"
    if site.dhcp == "none" and site.servers.dhcp:
        lines = texts.FOR_ISC.format(address=site.address.ip).replace("\n", "\n    ")
        yield f"have {site.servers.dhcp} tell nodes their boot files; as ISC's words:\n    {lines}"
    for path in (site.tftp_root, *site.tftp_root.parents):
        place = machine.at(path)
        if place.exists() and not place.stat().st_mode & stat.S_IXOTH:
            yield f"{path}: TFTP's user cannot get through it; do: chmod o+x {path}"
    if machine.is_here:
        yield from _in_the_way(site, machine)


def _is_in(address: str, network: object) -> bool:
    import ipaddress

    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(str(network))


def _in_the_way(site: Site, machine: Machine) -> Iterator[str]:
    profiles = machine.text_of("/sys/kernel/security/apparmor/profiles")
    is_confined = re.search(r"(?m)^\S*dnsmasq\S* \(enforce\)", profiles)
    allowed = machine.text_of("/etc/apparmor.d/usr.sbin.dnsmasq")
    allowed += machine.text_of("/etc/apparmor.d/local/usr.sbin.dnsmasq")
    if is_confined and str(site.tftp_root) not in allowed:
        yield (
            f"AppArmor lets dnsmasq read nothing in {site.tftp_root}: add `{site.tftp_root}/** r,`"
            " to /etc/apparmor.d/local/usr.sbin.dnsmasq, then: systemctl reload apparmor"
        )
    python = Path(sys.executable)
    for path in dict.fromkeys((*python.parents, *python.resolve().parents)):
        if not path.stat().st_mode & 0o001:
            yield f"{path}: users cannot run the commands, which need what is below it"
    rules = machine.find("nft")
    if rules and os.getuid() == 0:
        said = machine.run(str(rules), "list", "ruleset")
        if re.search(r"hook input [^;]*; policy drop;", said):
            yield (
                "the firewall drops what it is not told to let in, and nodes need DHCP, TFTP and"
                " images; such as:"
                f" nft add rule inet filter input iifname {site.interface} accept"
            )
