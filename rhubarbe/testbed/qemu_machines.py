"""QEMU machines: real firmware, PXE, kernels, telnetd and sshd, on a private network."""

import asyncio
import itertools
import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rhubarbe.annexe.errors import Misused
from rhubarbe.testbed import bootserver, drives, firmware, namespace, programs, sample
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.built import Built, built, default_cache, root_offset
from rhubarbe.testbed.configuration import Names, Sections
from rhubarbe.testbed.drives import SECTORS, Drive, DriveWish
from rhubarbe.testbed.faults import OF_CONTROLS
from rhubarbe.testbed.firmware import Board
from rhubarbe.testbed.qemu import Chassis, QemuMachine
from rhubarbe.testbed.site import Plan, Site

NEEDED = ("ip", "unshare", "setpriv", "qemu-system-x86_64", "dnsmasq", "debugfs")
POSSIBLE = (*sorted(OF_CONTROLS), "never-leaves", "never-returns")
STAMP_FILE = "/etc/rhubarbe-image"
OLD_STAMP = "a machine - image old - by rhubarbe-testbed\n"
MORE = 64 * sample.MIB  # a node's disk is larger than that of the image
BOOT_ORDER = 2  # of what is booted after the network card
MEMORY, MEMORY_OF_ALL_DRIVERS = 256, 512  # MiB
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "networking": {"bandwidth": "200", "telnet_timeout": "4", "ssh_timeout": "5"},
    "nodes": {
        "reset_timeout": "60",
        "timeout_before_telnet": "150",
        "wait_default_timeout": "180",
    },
}


@dataclass(slots=True)
class QemuMachines:
    """Machines of QEMU; what takes long to make is kept in `cache`.

    `debian`: the sample system is a real one, not one of busybox; `keep_disks` has a copy made of a
    disk whenever its machine is switched on; `ramdisk` is a directory that rhubarbe-ramdisk has
    filled, to boot from instead of ours; unless it `boots_them`, somebody else on this network
    serves DHCP and TFTP. Disks are those that `wishes` ask for; some of them need a kernel with
    more drivers, which needs more memory. Machines have the `firmwares` in turn.
    """

    noun = "machines"

    cache: Path = field(default_factory=default_cache)
    debian: bool = False
    keep_disks: bool = False
    memory_mib: int = 0  # or what is enough
    ramdisk: Path | None = None
    boots_them: bool = True
    wishes: Sequence[DriveWish] = ()
    firmwares: Sequence[str] = (firmware.BIOS,)

    def check(self, plan: Plan) -> None:
        """Raise Misused or MissingProgram for what cannot be done, or not here."""
        for fault in plan.faults:
            if fault.name not in POSSIBLE:
                possible = ", ".join(POSSIBLE)
                raise Misused(f"{fault.name} cannot be made to happen on machines; {possible} can")
        if plan.image is not None:
            raise Misused("--image goes with emulated nodes only")
        if any(map(plan.switches_itself, plan.numbers)):
            raise Misused("--power wol goes with emulated nodes and hosts only")
        drives.by_node(self.wishes, [names.node for names in plan.names()])
        if self.ramdisk is not None:
            _check_ramdisk(self.ramdisk, plan.ramdisk_shell, self.firmwares)
        programs.require(NEEDED, root=True, what="--machines")
        firmware.require(self.firmwares)
        if firmware.BIOS in self.firmwares:
            bootserver.require_pxelinux()

    async def furnish(self, site: Site) -> None:
        """Bring what is built, and put an old system on every disk."""
        made = await built(
            self.cache,
            ["--debian"] if self.debian else [],
            kernel="full" if self._needs_all_drivers else "cloud",
            by_ssh=site.plan.ramdisk_shell == "ssh",
        )
        await sample.to_the_end(_furnish, site, made)
        ramdisk = (self.ramdisk or made.ramdisk).resolve()
        bootserver.lay_out(site, _tree(site), ramdisk, self.firmwares)
        for board in self._boards(site).values():
            board.make()
        await _mark_as_old(site.run / "old.img")
        await sample.to_the_end(_make_disks, site, self._disks(site))

    @asynccontextmanager
    async def network(self, site: Site) -> AsyncIterator[Addresses]:
        """Enter a private network where a server has addresses, and files to boot from."""
        binaries = Path(sys.executable).parent
        with namespace.private_network(site.directory, binaries) as network:
            for names in site.names:
                namespace.add_tap(_tap(names))
            boards, numbers = self._boards(site), [(each.node, each.number) for each in site.names]
            clients = [
                bootserver.Client(
                    network.mac(number, 1), network.control(number), boards[node].kind
                )
                for node, number in numbers
            ]
            if not self.boots_them:
                yield network
                return
            async with bootserver.serving(_tree(site), site.run, clients):
                yield network

    def settings(self, site: Site) -> Sections:
        """Tell the names of disks, and the limits of time."""
        shell = site.plan.ramdisk_shell
        return {
            **SETTINGS,
            "frisbee": _names_of_disks(self._disks(site)),
            "nodes": {**SETTINGS["nodes"], "ramdisk_shell": shell, **self._netboots(site)},
        }

    def _netboots(self, site: Site) -> dict[str, str]:
        """Return the settings that say by what each machine boots the ramdisk."""
        boards = self._boards(site)
        return {f"netboot.{node}": board.netboot for node, board in boards.items()}

    def _boards(self, site: Site) -> dict[str, Board]:
        kinds = zip(site.names, itertools.cycle(self.firmwares), strict=False)
        return {
            names.node: Board(kind, site.run / f"{names.node}.variables") for names, kind in kinds
        }

    def machine(
        self, site: Site, names: Names, addresses: Addresses, tasks: asyncio.TaskGroup
    ) -> QemuMachine:
        """Make one machine, without power."""
        disk = site.disk(names.node)
        board = self._boards(site)[names.node]
        usual = MEMORY_OF_ALL_DRIVERS if self._needs_all_drivers else MEMORY
        usual += firmware.MORE_MEMORY if board.is_uefi else 0
        chassis = Chassis(
            name=names.node,
            mac=addresses.mac(names.number, 1),
            tap=_tap(names),
            drives=_drives(site, names.node, self._disks(site)[names.node]),
            disk=disk,
            serial=site.directory / "serial" / f"{names.node}.log",
            memory_mib=self.memory_mib or usual,
            before=disk.with_suffix(".before") if self.keep_disks else None,
            network_first=site.plan.boots_network_first(names.number),
            board=board,
        )
        return QemuMachine(chassis, site.faults[names.node], tasks, site.log)

    def _disks(self, site: Site) -> dict[str, list[DriveWish]]:
        return drives.by_node(self.wishes, [names.node for names in site.names])

    @property
    def _needs_all_drivers(self) -> bool:
        return not all(wish.kind in drives.IN_CLOUDS for wish in self.wishes)


def _names_of_disks(disks: Mapping[str, Sequence[DriveWish]]) -> Mapping[str, str]:
    """Return the settings that say which disk is meant: for all nodes, and where one differs."""
    meant = {node: drives.meant(wishes) for node, wishes in disks.items()}
    usual = Counter(meant.values()).most_common(1)[0][0]
    others = {f"hard_drive.{node}": disk for node, disk in meant.items() if disk != usual}
    return {"hard_drive": usual, "root_partition": drives.partition(usual)} | others


def _drives(site: Site, node: str, wishes: Sequence[DriveWish]) -> list[Drive]:
    """Plug in the disks of a node: what is meant is booted, after the network."""
    return [
        Drive(
            site.disk(node if wish.is_meant else f"{node}-{place}"),
            wish.kind,
            wish.serial,
            wish.sector,
            boot_order=BOOT_ORDER + (0 if wish.is_meant else place),
        )
        for place, wish in enumerate(wishes, start=1)
    ]


def _tap(names: Names) -> str:
    return f"tap{names.number}"


def _tree(site: Site) -> Path:
    return site.run / "tftp"


def _check_ramdisk(ramdisk: Path, shell: str, kinds: Sequence[str]) -> None:
    if shell == "ssh":
        raise Misused("--ramdisk goes with telnet: which key opens it is not known here")
    if missing := [name for name in bootserver.needed(kinds) if not (ramdisk / name).is_file()]:
        raise Misused(
            f"--ramdisk {ramdisk}: no {', '.join(missing)} there;"
            f" do: rhubarbe-ramdisk build --output {ramdisk}"
        )


def _furnish(site: Site, made: Built) -> None:
    (site.directory / "serial").mkdir()
    site.sample.unlink(missing_ok=True)
    site.sample.symlink_to(made.image)
    for source, target in ((made.key, site.key), (_public(made.key), _public(site.key))):
        shutil.copy(source, target)
    sample.copy_sparsely(made.system, site.run / "sample.img")
    sample.copy_sparsely(made.system, site.run / "old.img")


def _public(key: Path) -> Path:
    return key.with_suffix(".pub")


async def _mark_as_old(disk: Path) -> None:
    """Give the system on a disk another stamp than that of the image."""
    stamp = disk.with_suffix(".stamp")
    stamp.write_text(OLD_STAMP)
    offset = root_offset(disk)
    await programs.run(
        [programs.find("debugfs"), "-w", "-f", "-", f"{disk}?offset={offset}"],
        text=f'rm {STAMP_FILE}\nwrite "{stamp}" {STAMP_FILE}\n',
    )


def _make_disks(site: Site, disks: Mapping[str, Sequence[DriveWish]]) -> None:
    """Put the old system on what is meant of each machine's disks, if it can be there."""
    old = site.run / "old.img"
    needed = old.stat().st_size
    for node, wishes in disks.items():
        for wish, drive in zip(wishes, _drives(site, node, wishes), strict=True):
            size = wish.size or needed + MORE
            if wish.is_meant and wish.sector == SECTORS[0] and size >= needed:
                sample.copy_sparsely(old, drive.file)
            drive.file.touch()
            os.truncate(drive.file, size)
