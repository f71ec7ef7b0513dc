"""What every kind of power control in a testbed does, and the switch of one machine."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol

from rhubarbe.testbed import programs
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.faults import OF_WAYS_TO_CONTROLS, Faults
from rhubarbe.testbed.site import Plan, Site

# How long after an order a control with the fault `card-late` shows what was before.
LATE_S = 2.0
# How long an answer takes of a control with one of these faults.
SLOW_S = {"card-slow": 2.0, "card-too-slow": 20.0}


class Powered(Protocol):
    """What a switch needs of its machine."""

    name: str
    faults: Faults
    network_once: bool
    """Whether it boots from the network the next time, whatever it does else."""

    @property
    def has_power(self) -> bool:
        """Whether the machine is on."""

    def press(self, key: Key) -> None:
        """Switch it; returns at once."""


class Switch:
    """The power of one machine, as its control switches and shows it.

    Faults that any control can have happen here: it does not obey, or shows what is not so. For
    those of the way to it, a control asks whether it `meets` them.
    """

    def __init__(
        self, names: Names, address: str, machine: Powered, log: Callable[[str], None]
    ) -> None:
        """`address` is where its control serves, at any port."""
        self.names = names
        self.address = address
        self._machine = machine
        self._log = log
        self._claimed: bool | None = None  # the power that is shown instead of the truth
        self._claimed_until = float("inf")

    @property
    def name(self) -> str:
        """The machine's."""
        return self._machine.name

    @property
    def listens(self) -> bool:
        """Whether anything answers at its address."""
        return not self._machine.faults.always("card-dead")

    def meets(self, fault: str, key: Key | None) -> bool:
        """Tell whether a fault happens now, at an order, or at a question where there is no key.

        Only orders count down those that wear off.
        """
        faults = self._machine.faults
        if not faults.always(fault) and (key is None or not faults.take(fault)):
            return False
        self._log(f"{self.name} card {key or 'question'} meets {fault}")
        return True

    async def think(self, key: Key | None) -> None:
        """Take as long as a slow control does for an answer, to an order or to a question."""
        for fault, seconds in SLOW_S.items():
            if self.meets(fault, key):
                await asyncio.sleep(seconds)

    def press(self, key: Key) -> None:
        """Switch the machine, or not; returns at once."""
        node, faults = self._machine, self._machine.faults
        if faults.take("card-lies"):
            self._log(f"{node.name} card {key} meets card-lies")
        elif faults.take("never-leaves"):
            self._log(f"{node.name} card {key} meets never-leaves")
            self._claim(is_on=key is not Key.OFF, seconds=float("inf"))
        else:
            self._log(f"{node.name} card {key}")
            self._claimed = None
            if faults.take("card-late"):
                self._claim(is_on=node.has_power, seconds=LATE_S)
            node.press(key)

    @property
    def shows_power(self) -> bool:
        """What the control says: whether the machine is on."""
        if self._claimed is None or asyncio.get_running_loop().time() > self._claimed_until:
            return self._machine.has_power
        return self._claimed

    @property
    def network_once(self) -> bool:
        """Whether the machine boots from the network the next time."""
        return self._machine.network_once

    @network_once.setter
    def network_once(self, wanted: bool) -> None:
        self._log(f"{self.name} is to boot {'from the network once' if wanted else 'as usual'}")
        self._machine.network_once = wanted

    def _claim(self, *, is_on: bool, seconds: float) -> None:
        self._claimed = is_on
        self._claimed_until = asyncio.get_running_loop().time() + seconds


class ControlKind(ABC):
    """All power controls of one kind in a testbed; called in this order."""

    faults: ClassVar[frozenset[str]] = OF_WAYS_TO_CONTROLS
    """Which faults of the way to it can happen."""

    sets_boot: ClassVar[bool] = False
    """Whether it also tells a machine to boot from the network: a netboot of the same name does."""

    programs: ClassVar[tuple[str, ...]] = ()
    """What has to be installed."""

    def check(self) -> None:
        """Raise MissingProgram, which names the package, for what it needs and is not here."""
        for program in self.programs:
            programs.find(program)

    def fit(self, plan: Plan) -> None:  # noqa: B027 - most fit whatever is planned
        """Raise Misused where it cannot switch what is planned."""

    @abstractmethod
    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Make what is needed, and tell by number what `power` of a node in the inventory is.

        Nothing is told of a node whose `cmc` there is enough.
        """

    @abstractmethod
    def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AbstractAsyncContextManager[None]:
        """Serve the power of these machines, which are those of `furnish`."""
