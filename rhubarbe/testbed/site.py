"""What a testbed is to be, and where each thing of it lies in its directory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rhubarbe.annexe.errors import Misused
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.faults import Fault, Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a testbed is to be; times in seconds, `sample_mib` in MiB of incompressible content."""

    directory: Path
    numbers: Sequence[int]
    cards: Mapping[int, int] = field(default_factory=dict)  # node -> number that its card bears
    faults: Sequence[Fault] = ()
    boot_time: float = 1.0
    slow_boot: float = 40.0  # how many times as long: beyond the limits of the configuration
    sample_mib: int = 24
    ramdisk_shell: str = "telnet"  # or ssh
    image: Path | None = None  # serve this one as the sample, instead of making it
    power: Sequence[str] = ("cmc",)  # kinds of power controls, which the nodes have in turn
    netboot: str = ""  # a kind of them that says what a node boots, so that links need not; or none

    def names(self) -> list[Names]:
        """Name all the nodes; raises Misused for a card of a node that is not there."""
        for number in self.cards:
            if number not in self.numbers:
                raise Misused(f"fit{number:02d} has a card but is not in this testbed")
        return [Names(number, self.cards.get(number, number)) for number in self.numbers]

    def boots_network_first(self, number: int) -> bool:
        """Tell whether a node looks at the network at each start, or only when it is told to."""
        return self.power_of(number) != self.netboot

    def switches_itself(self, number: int) -> bool:
        """Tell whether a node is switched by what runs on it."""
        return self.power_of(number) == "wol"

    def power_of(self, number: int) -> str:
        """Return the kind of power control of a node."""
        return self.power[self.numbers.index(number) % len(self.power)]


@dataclass(frozen=True, slots=True)
class Site:
    """The directory of a testbed, and what all that is built there must know."""

    plan: Plan
    directory: Path
    names: Sequence[Names]
    faults: Mapping[str, Faults]  # by node
    log: Callable[[str], None]

    @property
    def images(self) -> Path:
        """The repository."""
        return self.directory / "images"

    @property
    def sample(self) -> Path:
        """The image that is loaded where nothing else is named."""
        return self.images / "sample.ndz"

    @property
    def run(self) -> Path:
        """Files of the run itself, of use afterwards only to look for faults."""
        return self.directory / "run"

    @property
    def boot_entries(self) -> Path:
        """Where pxelinux looks."""
        return self.directory / "pxelinux.cfg"

    @property
    def grub_entries(self) -> Path:
        """Where GRUB looks, on machines with UEFI."""
        return self.directory / "grub"

    @property
    def ipxe_entries(self) -> Path:
        """Where iPXE looks, on machines that have been told to begin with its script."""
        return self.directory / "ipxe"

    @property
    def key(self) -> Path:
        """The private key that opens every system; the public one is beside it."""
        return self.directory / "id_ed25519"

    @property
    def way_of_nodes(self) -> Path:
        """The socket at which what runs on a node has that switched, where nothing else does."""
        return self.run.resolve() / "wol.bridge"

    def disk(self, node: str) -> Path:
        """Return the disk of a node."""
        return self.directory / "disks" / f"{node}.img"

    def home(self, node: str) -> Path:
        """Return the directory in which the shell of a node's ramdisk starts."""
        return self.directory / "nodes" / node
