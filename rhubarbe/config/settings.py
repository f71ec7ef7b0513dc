"""What can be configured: one record declares one setting.

Its name, type, default, and the words that explain it in `rhubarbe.conf.sample`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from rhubarbe.config.secrets import NO_SECRET, Secret
from rhubarbe.config.section import Section, ValueKind, setting
from rhubarbe.config.values import (
    COUNT,
    DAYS,
    DISK,
    FLAG,
    GROUPS,
    NAMES,
    OPTIONS,
    PARTITION,
    PATH,
    PATH_IF_ANY,
    PORT,
    PORTS,
    SECONDS,
    SECRET,
    TEXT,
    TFTP,
    URL,
    WORD,
    among,
    one_of,
)

INVENTORY = "the inventory"
CHECKINGS = ("accept-new", "yes")


class RamdiskShell(StrEnum):
    """How the ramdisk offers its shell."""

    TELNET = "telnet"
    SSH = "ssh"


class EngineName(StrEnum):
    """What brings images to the nodes."""

    FRISBEE = "frisbee"
    UDPCAST = "udpcast"
    ARIA2 = "aria2"


ENGINE = ValueKind(f"one of {', '.join(EngineName)}", EngineName)
SHELL = ValueKind(" or ".join(RamdiskShell), RamdiskShell)
CHECKING = ValueKind(" or ".join(CHECKINGS), among(*CHECKINGS))
BACKEND = one_of("none", "local", "r2labapi")


class TestbedSettings(Section):
    """[testbed]: the site."""

    regularname: str = setting(
        WORD, "fit", "what the nodes' control hostnames begin with, up to their number"
    )
    rebootname: str = setting(WORD, "reboot", "what the power cards' hostnames begin with")
    inventory_path: Path = setting(
        PATH,
        Path("/etc/rhubarbe/inventory.json"),
        "the nodes, their cards and addresses, in JSON, or YAML if it is called so; where there is"
        " no such file and none is named here, inventory.yaml or inventory-nodes.yaml (.json)",
    )
    inventory_pdus_path: Path = setting(
        PATH,
        Path("/etc/rhubarbe/inventory-pdus.yaml"),
        "PDUs, and what is plugged into them that is no node",
    )
    all_scope: str = setting(TEXT, "1-37", "the nodes that -a selects where $ALL_NODES is not set")
    state_dir: Path = setting(
        PATH,
        Path("/var/lib/rhubarbe"),
        "what the gateway's users share from one command to another",
    )


class NodesSettings(Section):
    """[nodes]: time limits, in seconds; a node that misses one is given up, the others go on."""

    load_default_timeout: float = setting(SECONDS, 300.0, "rhubarbe-load as a whole, unless -t")
    save_default_timeout: float = setting(SECONDS, 300.0, "rhubarbe-save as a whole, unless -t")
    wait_default_timeout: float = setting(SECONDS, 60.0, "rhubarbe-wait as a whole, unless -t")
    cmc_default_timeout: float = setting(SECONDS, 3.0, "one answer of a power card")
    cmc_safe_timeout: float = setting(
        SECONDS, 60.0, "rhubarbe-on, -off, -reset and the like as a whole, unless -t"
    )
    soft_off_timeout: float = setting(
        SECONDS, 20.0, "how long a node may take to shut down before its card switches it off"
    )
    idle_after_reset: float = setting(
        SECONDS,
        15.0,
        "how soon after a reset a node must be seen to go away; else its card is sent off, then on",
        per_node=True,
    )
    reset_timeout: float = setting(
        SECONDS, 60.0, "the whole reset, off and on included", per_node=True
    )
    ramdisk_shell: RamdiskShell = setting(
        SHELL,
        RamdiskShell.TELNET,
        "how the ramdisk offers its shell: `telnet` without a login, or `ssh` to root with ssh_key",
        per_node=True,
    )
    netboot: str = setting(
        WORD,
        "pxelinux",
        "what makes a node boot the ramdisk, where the inventory does not say: a kind of"
        " docs/KINDS.md, such as `pxelinux` (BIOS), `grub` (UEFI), `both`, `ipxe`",
        per_node=True,
    )
    timeout_before_telnet: float = setting(
        SECONDS, 80.0, "from the reset until the ramdisk answers on telnet, or ssh", per_node=True
    )
    silence_timeout: float = setting(
        SECONDS, 60.0, "how long a node may say nothing at all while its image is written or read"
    )
    image_patience: float = setting(
        SECONDS,
        10.0,
        "an image may take this many times what it takes on the wire, and silence_timeout more",
    )
    reset_window: int = setting(
        COUNT, 10, "how many nodes may be reset within a second, for DHCP and breakers"
    )
    probe_interval: float = setting(
        SECONDS, 0.25, "between two looks at a node that is expected to go away"
    )


class PxelinuxSettings(Section):
    """[pxelinux]: the links that make a node boot the ramdisk."""

    config_dir: Path = setting(
        PATH, Path("/tftpboot/pxelinux.cfg"), "where pxelinux looks for 01-<mac>"
    )
    tftp_server: str = setting(
        TFTP,
        "",
        "who serves config_dir and what its entries name, for rhubarbe-doctor: an address, perhaps"
        " with `:port`; `none` where nodes read them otherwise; empty: we, where nodes reach us",
    )
    frisbee_image: str = setting(
        WORD, "pxefrisbee", "the entry in config_dir that boots the ramdisk", per_node=True
    )


class GrubSettings(Section):
    """[grub]: likewise, of nodes that boot by UEFI, where netboot = grub, or both."""

    config_dir: Path = setting(
        PATH, Path("/tftpboot/grub"), "where grub.cfg looks for 01-<mac>, beside it"
    )
    entry: str = setting(
        WORD, "pxefrisbee", "the entry in config_dir that boots the ramdisk", per_node=True
    )


class IpxeSettings(Section):
    """[ipxe]: likewise, of nodes that boot by iPXE, where netboot = ipxe."""

    config_dir: Path = setting(
        PATH, Path("/tftpboot/ipxe"), "the directory, served by HTTP or TFTP, for <mac>.ipxe"
    )
    entry: str = setting(
        WORD, "pxefrisbee.ipxe", "the script in config_dir that boots the ramdisk", per_node=True
    )


class FrisbeeSettings(Section):
    """[frisbee]: the programs that move images, and where images live."""

    engine: EngineName = setting(
        ENGINE,
        EngineName.FRISBEE,
        "what brings images to the nodes: `frisbee`, which the next three settings are about;"
        " `udpcast`, by multicast too; or `aria2`, BitTorrent for nodes that no multicast reaches",
    )
    client: str = setting(WORD, "frisbee", "on the ramdisk: writes the image", per_node=True)
    server: str = setting(WORD, "rhubarbe-frisbeed", "on the gateway: serves the image")
    server_options: str = setting(OPTIONS, "-K 3", "options of the server besides what it needs")
    imageunzip: str = setting(
        WORD,
        "imageunzip",
        "on the ramdisk: writes the image that another engine has brought",
        per_node=True,
    )
    imagezip: str = setting(WORD, "imagezip", "on the ramdisk: reads the disk", per_node=True)
    netcat: str = setting(
        WORD, "nc", "on the ramdisk: sends the image to the gateway", per_node=True
    )
    hard_drive: str = setting(
        DISK,
        "/dev/sda",
        "the disk: a path in the ramdisk, /dev/disk/by-path/... and /dev/disk/by-id/... among them;"
        " or hints, with commas between them, that one disk only of the node fulfils: serial=TEXT,"
        " wwn=TEXT, model=TEXT (* stands for anything), size>=100G, size<=2TB, rotational=yes|no,"
        " smallest, largest; `disk` of a node in the inventory says the same, and is beaten by"
        " `hard_drive.fit03`",
        per_node=True,
    )
    root_partition: str = setting(
        PARTITION,
        "1",
        "where /etc/rhubarbe-image is stamped before a save: the number of a partition, whose name"
        " follows the disk's (sda1, nvme0n1p1, mmcblk0p1); a path, where one on hard_drive stands"
        " for its number on a node that has another disk; or `none`",
        per_node=True,
    )
    mount_point: str = setting(
        WORD, "/mnt", "where the ramdisk mounts the root partition", per_node=True
    )
    images_dir: Path = setting(PATH, Path("/var/lib/rhubarbe-images"), "the repository of images")
    default_image: str = setting(WORD, "default.ndz", "what load takes without -i")
    partial_lifetime: float = setting(
        DAYS,
        14.0,
        "for how many days an image that was cut short is kept for its owner: after that, a save"
        " into its directory or rhubarbe-images --remove removes it, unless somebody has it open;"
        " 0: for ever",
    )
    verify: bool = setting(
        FLAG,
        False,  # noqa: FBT003 - a default
        "whether the client reads the disk again and compares; the original client cannot",
    )


class UdpcastSettings(Section):
    """[udpcast]: where engine = udpcast."""

    sender: str = setting(WORD, "udp-sender", "on the gateway")
    sender_options: str = setting(OPTIONS, "", "its options besides what it needs")
    receiver: str = setting(WORD, "udp-receiver", "on the ramdisk", per_node=True)
    receiver_options: str = setting(OPTIONS, "", "its options besides what it needs", per_node=True)
    gather: float = setting(
        SECONDS,
        30.0,
        "how long the first node that is ready waits for the others: who comes later waits for the"
        " next session",
    )


class Aria2Settings(Section):
    """[aria2]: where engine = aria2."""

    seeder: str = setting(WORD, "aria2c", "on the gateway")
    seeder_options: str = setting(OPTIONS, "", "its options besides what it needs")
    client: str = setting(WORD, "aria2c", "on the ramdisk", per_node=True)
    client_options: str = setting(OPTIONS, "", "its options besides what it needs", per_node=True)
    directory: str = setting(
        WORD,
        "/tmp",  # noqa: S108 - of the ramdisk
        "on the ramdisk: there must be room for the whole image, in memory as a rule",
        per_node=True,
    )


class NetworkingSettings(Section):
    """[networking]: ports, patience and bandwidth."""

    cmc_port: int = setting(PORT, 80, "HTTP port of the power cards")
    telnet_port: int = setting(PORT, 23, "telnet port of the ramdisk")
    ssh_port: int = setting(PORT, 22, "ssh port of the nodes")
    telnet_backoff: float = setting(SECONDS, 1.0, "mean time between two tries of telnet")
    telnet_timeout: float = setting(SECONDS, 2.0, "one try of telnet")
    ssh_backoff: float = setting(SECONDS, 3.0, "mean time between two tries of ssh")
    ssh_timeout: float = setting(
        SECONDS, 2.0, "the first try of ssh; each later try may take longer, up to 30 s"
    )
    ssh_key: str = setting(TEXT, "", "a private key for ssh; empty: the user's own keys and agent")
    known_hosts: Path | None = setting(
        PATH_IF_ANY,
        None,
        "host keys of the nodes, in a file such as OpenSSH's known_hosts: a node that is in it must"
        " show such a key, else it is bad; empty: they are not checked",
    )
    ramdisk_known_hosts: Path | None = setting(
        PATH_IF_ANY,
        None,
        "the same for the ramdisk on them, where ramdisk_shell = ssh: the key of a system on a disk"
        " is not the ramdisk's",
    )
    strict_host_key_checking: str = setting(
        CHECKING,
        "accept-new",
        "of nodes that are not in that file: `accept-new` takes them, and notes nothing; `yes`"
        " refuses them",
    )
    pattern_multicast: str = setting(GROUPS, "234.5.6.*", "multicast groups; * is 1, 2, 3, ...")
    pattern_port: str = setting(PORTS, "10000 + *", "UDP ports, one a group")
    pattern_size: int = setting(COUNT, 20, "how many groups, so how many loads at once")
    bandwidth: int = setting(
        COUNT,
        500,
        "Mibit/s of this gateway, which loads that send at the same time share; one alone has all,"
        " or as much as -b says",
    )
    dhcp_leases: Path | None = setting(
        PATH_IF_ANY,
        None,
        "where the DHCP server notes its leases, for rhubarbe-doctor; empty: where dnsmasq, ISC's"
        " and Kea do as a rule",
    )
    local_control_ip: str = setting(
        TEXT, "", "our address that the nodes reach; empty: the one on the route to them"
    )


class LeasesSettings(Section):
    """[leases]: whether who loads, saves or switches nodes needs a lease of the testbed."""

    backend: str = setting(
        BACKEND,
        "none",
        "who keeps them: nobody, so that none is needed; this gateway, `local`, in state_dir; or"
        " the reservation service, `r2labapi`, which is asked also where its url is said and this"
        " is not",
    )
    timeout: float = setting(SECONDS, 5.0, "how long that service may take to answer")


class R2labapiSettings(Section):
    """[r2labapi]: the reservation service, where backend = r2labapi."""

    url: str = setting(URL, "", "where it is, such as https://reservations.example.org:443/")
    resource_name: str = setting(TEXT, "", "what it calls this testbed")
    admin_token: Secret = setting(
        SECRET,
        NO_SECRET,
        "allows rhubarbe-book without logging in: `!file PATH`, a file that nobody else can read,"
        " `!env NAME`, `!command PROGRAM WORDS`, or the token itself where nobody else reads this",
    )


class AccountsSettings(Section):
    """[accounts]: the users of this gateway."""

    privileged: tuple[str, ...] = setting(
        NAMES,
        (),
        "users who need no lease, as root needs none; counts only in a file below /etc/rhubarbe"
        " that is root's, and that nobody else can write",
        by_root=True,
    )


@dataclass(frozen=True, slots=True)
class NodeValue:
    """One value that is said for some nodes: those of the `numbers`, or of that control name."""

    section: str
    key: str
    nodes: str
    numbers: frozenset[int]
    value: Any
    origin: str

    @property
    def count(self) -> int:
        """For how many nodes it is."""
        return len(self.numbers) or 1

    def is_for(self, number: int, hostname: str) -> bool:
        """Tell whether it is for this node; keys are read in lower case."""
        return number in self.numbers or hostname.lower() == self.nodes


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections, and where each value comes from: `origins["frisbee", "client"]` is a path.

    `notices` tell of what the files say and has no effect.
    """

    testbed: TestbedSettings = TestbedSettings()
    nodes: NodesSettings = NodesSettings()
    pxelinux: PxelinuxSettings = PxelinuxSettings()
    grub: GrubSettings = GrubSettings()
    ipxe: IpxeSettings = IpxeSettings()
    frisbee: FrisbeeSettings = FrisbeeSettings()
    udpcast: UdpcastSettings = UdpcastSettings()
    aria2: Aria2Settings = Aria2Settings()
    networking: NetworkingSettings = NetworkingSettings()
    leases: LeasesSettings = LeasesSettings()
    r2labapi: R2labapiSettings = R2labapiSettings()
    accounts: AccountsSettings = AccountsSettings()
    of_nodes: tuple[NodeValue, ...] = ()
    origins: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    notices: tuple[str, ...] = ()

    @property
    def disk_setting(self) -> str:
        """What says which disk is meant, for this node."""
        by_inventory = self.origins.get(("frisbee", "hard_drive")) == INVENTORY
        return "disk in the inventory" if by_inventory else "hard_drive"

    def for_node(self, number: int, hostname: str, disk: str = "") -> Self:
        """Return what holds for one node, whose `disk` is as the inventory says, if it does.

        Of several values the one for the fewest nodes counts, then the one that was read last.
        """
        values: dict[tuple[str, str], tuple[Any, str]] = {}
        if disk:
            values["frisbee", "hard_drive"] = (disk, INVENTORY)
        fitting = [value for value in self.of_nodes if value.is_for(number, hostname)]
        for each in sorted(fitting, key=lambda value: -value.count):
            values[each.section, each.key] = (each.value, each.origin)
        if not values:
            return self
        changed: dict[str, Any] = {}
        for (name, key), (value, _) in values.items():
            section = changed.get(name, getattr(self, name))
            changed[name] = section.but(**{key: value})
        origins = dict(self.origins) | {place: origin for place, (_, origin) in values.items()}
        return replace(self, **changed, origins=MappingProxyType(origins))


SECTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "testbed": TestbedSettings,
        "nodes": NodesSettings,
        "pxelinux": PxelinuxSettings,
        "grub": GrubSettings,
        "ipxe": IpxeSettings,
        "frisbee": FrisbeeSettings,
        "udpcast": UdpcastSettings,
        "aria2": Aria2Settings,
        "networking": NetworkingSettings,
        "leases": LeasesSettings,
        "r2labapi": R2labapiSettings,
        "accounts": AccountsSettings,
    }
)
