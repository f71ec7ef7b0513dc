"""Which checks there are, in the order in which they are told."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from rhubarbe.doctor import (
    boot_entries,
    clock,
    dhcp,
    disk_space,
    leases,
    multicast,
    network,
    open_files,
    places,
    ports,
    power,
    programs,
    ssh_key,
    tftp,
)
from rhubarbe.doctor.site import Site
from rhubarbe.events import Finding

Look = Callable[[Site], Awaitable[list[Finding]]]
CHECKS: Mapping[str, Look] = MappingProxyType(
    {
        "state": places.state,
        "links": places.links,
        "images": places.images,
        "boot-entries": boot_entries.look,
        "network": network.look,
        "tftp": tftp.look,
        "dhcp": dhcp.look,
        "multicast": multicast.look,
        "ports": ports.look,
        "programs": programs.look,
        "ssh-key": ssh_key.look,
        "power": power.look,
        "leases": leases.look,
        "clock": clock.look,
        "disk-space": disk_space.look,
        "open-files": open_files.look,
    }
)
