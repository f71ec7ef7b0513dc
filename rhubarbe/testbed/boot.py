"""Power, boot order and what was found: what a machine goes through, without I/O or clock."""

from collections.abc import Callable
from enum import StrEnum


class MachineState(StrEnum):
    """What a machine is doing."""

    OFF = "off"
    BOOTING = "booting"
    RAMDISK = "ramdisk"
    DISK = "disk"
    DEAD = "dead"  # powered, but nothing that it can boot

    @property
    def has_power(self) -> bool:
        """Whether the power card says `on`."""
        return self is not MachineState.OFF


class Key(StrEnum):
    """What the power card does to a machine."""

    ON = "on"
    OFF = "off"
    RESET = "reset"


class Found(StrEnum):
    """What the boot order ended on."""

    RAMDISK = "ramdisk"
    DISK = "disk"
    NOTHING = "nothing"


AFTER_BOOT = {
    Found.RAMDISK: MachineState.RAMDISK,
    Found.DISK: MachineState.DISK,
    Found.NOTHING: MachineState.DEAD,
}


def after_key(state: MachineState, key: Key) -> MachineState:
    """Return the state that a key leads to.

    `on` does nothing to a machine that is on, nor the others to one that is off.
    """
    if state.has_power:
        return {Key.ON: state, Key.OFF: MachineState.OFF, Key.RESET: MachineState.BOOTING}[key]
    return MachineState.BOOTING if key is Key.ON else MachineState.OFF


def restarts(state: MachineState, key: Key) -> bool:
    """Whether the key ends whatever the machine was doing: a reset while booting counts too."""
    return after_key(state, key) is not state or (state.has_power and key is Key.RESET)


def link_name(mac: str) -> str:
    """Name the file of its own that a machine asks for: ARP type 1, the address in lower case."""
    return "01-" + mac.lower().replace(":", "-")


def address_name(address: str) -> str:
    """Name the file that a machine asks for where there is none of its own: its IPv4 address."""
    return "".join(f"{int(part):02X}" for part in address.split("."))


def reaches_entry(target: str | None, exists: Callable[[str], bool]) -> bool:
    """Whether pxelinux finds an entry through a link with this target (None: no link).

    TFTP servers show one directory as the root, so an absolute target leads nowhere, and a
    dangling link is a file that does not exist.
    """
    return target is not None and not target.startswith("/") and exists(target)


def boot_order(*, entry: bool, disk_boots: bool) -> Found:
    """Try the network first, if that has an entry for us, then the disk."""
    if entry:
        return Found.RAMDISK
    return Found.DISK if disk_boots else Found.NOTHING
