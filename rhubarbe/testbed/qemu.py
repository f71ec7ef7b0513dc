"""One QEMU machine: its process is its power. It boots from the network, else from its disk."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rhubarbe.testbed import boot, drives, namespace, programs, sample
from rhubarbe.testbed.boot import Key, MachineState
from rhubarbe.testbed.drives import Drive
from rhubarbe.testbed.faults import Faults
from rhubarbe.testbed.firmware import Board


@dataclass(frozen=True, slots=True)
class Chassis:
    """What a machine is made of and plugged into."""

    name: str
    mac: str
    tap: str  # the end of its cable, on the bridge
    drives: Sequence[Drive]
    disk: Path  # that of them which images are written to
    serial: Path  # all that it ever said on its serial line
    memory_mib: int
    before: Path | None  # where that one is copied to whenever the machine is switched on
    network_first: bool = True  # else from the disk, unless it is told to boot from the network
    board: Board = field(default_factory=Board)

    def command(self, *, by_network: bool) -> list[str]:
        """Return what runs it: software emulation, since /dev/kvm is there where it cannot work.

        A small translation cache keeps several machines within a small gateway's memory.
        """
        first = ",bootindex=1" * by_network
        return [
            programs.find("qemu-system-x86_64"),
            *("-name", self.name, "-M", "pc", "-accel", "tcg,thread=multi,tb-size=64"),
            *("-m", str(self.memory_mib), "-nodefaults", "-no-user-config", "-display", "none"),
            *self.board.words(),
            *("-chardev", f"file,id=serial,path={drives.value(self.serial)},append=on"),
            *("-serial", "chardev:serial"),
            *("-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={self.mac}{first}{self.board.card}"),
            *drives.words(self.drives),
            *("-boot", "strict=on"),
        ]


class QemuMachine:
    """A machine that a power card switches; a reset is a new process, since QEMU's own is slow."""

    def __init__(
        self,
        chassis: Chassis,
        faults: Faults,
        tasks: asyncio.TaskGroup,
        log: Callable[[str], None],
    ) -> None:
        self.name = chassis.name
        self.chassis = chassis
        self.faults = faults
        self.settled = asyncio.Event()  # always: a testbed serves while its machines boot
        self.settled.set()
        self.network_once = False
        self._tasks = tasks
        self._log = log
        self._life: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def has_power(self) -> bool:
        """What an honest power card says: whether its process is there, or about to be."""
        return self._life is not None

    def power_up(self) -> None:
        """Switch it on for the first time; that it is up is for others to see."""
        self._switch_on(Faults())

    def press(self, key: Key) -> None:
        """Switch as the power card does; returns at once."""
        state = MachineState.DISK if self.has_power else MachineState.OFF
        if not boot.restarts(state, key):
            return
        self.stop()
        if boot.after_key(state, key).has_power:
            self._switch_on(self.faults)

    def stop(self) -> None:
        """Lose power; the process ends soon."""
        if self._life is not None:
            self._life.cancel()
            self._ending.add(self._life)
            self._life.add_done_callback(self._ending.discard)
        self._life = None

    def _switch_on(self, faults: Faults) -> None:
        self._life = self._tasks.create_task(self._live(faults))

    async def _live(self, faults: Faults) -> None:
        while self._ending:  # only one may hold the cable
            await asyncio.wait(self._ending)
        if faults.take("never-returns"):
            self._log(f"{self.name} meets never-returns")
            await asyncio.Event().wait()
        if self.chassis.before is not None:
            await sample.to_the_end(sample.copy_sparsely, self.chassis.disk, self.chassis.before)
        status = await self._run()
        self._log(f"{self.name} switches itself off, with status {status}")
        self._life = None

    async def _run(self) -> int:
        """Run the process to its end, or to ours."""
        chassis = self.chassis
        by_network, self.network_once = chassis.network_first or self.network_once, False
        with chassis.serial.open("ab") as said:
            child = await asyncio.create_subprocess_exec(
                *namespace.killed_with_us(*chassis.command(by_network=by_network)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self._log(f"{self.name} runs as process {child.pid}")
        try:
            return await child.wait()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
