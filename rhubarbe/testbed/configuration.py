"""The files that tell the suite about an emulated testbed: its inventory and its configuration."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.testbed.addresses import Addresses

Sections = Mapping[str, Mapping[str, str]]
HEAD = "# An emulated testbed; written when it starts, for as long as it runs.\n"


@dataclass(frozen=True, slots=True)
class Names:
    """What one node is called: by its number, save the card, which may bear another's."""

    number: int
    card_number: int

    @property
    def node(self) -> str:
        """The control hostname."""
        return f"fit{self.number:02d}"

    @property
    def card(self) -> str:
        """The hostname of the power card."""
        return f"reboot{self.card_number:02d}"

    @property
    def data(self) -> str:
        """The hostname of the second interface."""
        return f"data{self.number:02d}"


def inventory(
    nodes: Sequence[Names],
    addresses: Addresses,
    power: Mapping[int, object],
    netboot: Mapping[int, object],
) -> str:
    """Write the inventory as JSON: a list of nodes, each with its three interfaces.

    `power` and `netboot` are what it says besides, of some nodes by number.
    """

    def interface(hostname: str, address: str, mac: str) -> dict[str, str]:
        return {"hostname": hostname, "ip": address, "mac": mac}

    entries = [
        {
            "cmc": interface(names.card, addresses.card(number), addresses.mac(number, 0)),
            "control": interface(names.node, addresses.control(number), addresses.mac(number, 1)),
            "data": interface(names.data, addresses.data(number), addresses.mac(number, 2)),
        }
        | ({"power": power[number]} if number in power else {})
        | ({"netboot": netboot[number]} if number in netboot else {})
        for names in nodes
        for number in (names.number,)
    ]
    return json.dumps(entries, indent=2) + "\n"


def common(directory: Path, scope: str, addresses: Addresses) -> Sections:
    """Tell what does not depend on what the machines are."""
    ports = addresses.ports
    return {
        "testbed": {
            "regularname": "fit",
            "rebootname": "reboot",
            "inventory_path": f"{directory}/inventory.json",
            "all_scope": scope,
            "state_dir": f"{directory}/state",
        },
        "pxelinux": {"config_dir": f"{directory}/pxelinux.cfg", "frisbee_image": "pxefrisbee"},
        "grub": {"config_dir": f"{directory}/grub", "entry": "pxefrisbee"},
        "ipxe": {"config_dir": f"{directory}/ipxe"},
        "frisbee": {
            "client": "frisbee",
            "server": "rhubarbe-frisbeed",
            "imagezip": "imagezip",
            "netcat": "nc",
            "images_dir": f"{directory}/images",
            "default_image": "default.ndz",
        },
        "networking": {
            "cmc_port": str(ports.cmc),
            "telnet_port": str(ports.telnet),
            "ssh_port": str(ports.ssh),
            "telnet_backoff": "0.5",
            "ssh_backoff": "0.5",
            "ssh_key": f"{directory}/id_ed25519",
            "bandwidth": "500",
        },
        "nodes": {
            "load_default_timeout": "300",
            "save_default_timeout": "300",
            "wait_default_timeout": "120",
            "reset_window": "1000",
        },
    }


def quick(boot_time: float, root_offset: int, ramdisk_shell: str) -> Sections:
    """Tell what holds where a disk is a file, and a boot takes so many seconds and no more.

    The limits of each phase leave a busy machine room.
    """
    return {
        # relative to the node's own directory
        "aria2": {"directory": "tmp"},
        "pxelinux": {"tftp_server": "none"},
        "frisbee": {"hard_drive": "dev/sda", "root_partition": f"dev/sda?offset={root_offset}"},
        "nodes": {
            "ramdisk_shell": ramdisk_shell,
            "idle_after_reset": "4",
            "reset_timeout": f"{12 + boot_time:.0f}",
            "timeout_before_telnet": f"{12 + 3 * boot_time:.0f}",
            "silence_timeout": "15",
            "probe_interval": "0.1",
        },
    }


def configuration(*layers: Sections) -> str:
    """Write the configuration as INI; later layers win."""
    merged: dict[str, dict[str, str]] = {}
    for layer in layers:
        for section, settings in layer.items():
            merged.setdefault(section, {}).update(settings)
    return HEAD + "".join(
        f"\n[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
        for section, settings in merged.items()
    )
