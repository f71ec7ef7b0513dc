"""The files that tell the suite about an emulated testbed: its inventory and its configuration."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.testbed.addresses import Network

CONFIGURATION = """\
# An emulated testbed; written when it starts, for as long as it runs.

[testbed]
regularname = fit
rebootname = reboot
inventory_path = {directory}/inventory.json
all_scope = {scope}
state_dir = {directory}/state

[pxelinux]
config_dir = {directory}/pxelinux.cfg
frisbee_image = pxefrisbee

[frisbee]
client = frisbee
server = rhubarbe-frisbeed
imagezip = imagezip
netcat = nc
# relative to the node's own directory
hard_drive = dev/sda
root_partition = dev/sda?offset={root_offset}
images_dir = {directory}/images
default_image = default.ndz

[networking]
cmc_port = {cmc}
telnet_port = {telnet}
ssh_port = {ssh}
telnet_backoff = 0.5
ssh_backoff = 0.5
ssh_key = {directory}/id_ed25519
bandwidth = 500

[nodes]
load_default_timeout = 300
save_default_timeout = 300
wait_default_timeout = 120
idle_after_reset = 4
reset_timeout = {reset:.0f}
timeout_before_telnet = {ramdisk:.0f}
silence_timeout = 15
probe_interval = 0.1
reset_window = 1000
"""


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


def inventory(nodes: Sequence[Names], network: Network) -> str:
    """Write the inventory as JSON: a list of nodes, each with its three interfaces."""

    def interface(hostname: str, address: str, mac: str) -> dict[str, str]:
        return {"hostname": hostname, "ip": address, "mac": mac}

    entries = [
        {
            "cmc": interface(names.card, network.card(number), network.mac(number, 0)),
            "control": interface(names.node, network.control(number), network.mac(number, 1)),
            "data": interface(names.data, network.data(number), network.mac(number, 2)),
        }
        for names in nodes
        for number in (names.number,)
    ]
    return json.dumps(entries, indent=2) + "\n"


def configuration(
    directory: Path, network: Network, scope: str, root_offset: int, boot_time: float
) -> str:
    """Write the configuration as INI; the limits of each phase leave a busy machine room."""
    ports = network.ports
    return CONFIGURATION.format(
        directory=directory,
        scope=scope,
        root_offset=root_offset,
        cmc=ports.cmc,
        telnet=ports.telnet,
        ssh=ports.ssh,
        reset=12 + boot_time,
        ramdisk=12 + 3 * boot_time,
    )
