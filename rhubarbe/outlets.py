"""What is switched at the testbed and is no node: devices, plugged into the outlets of PDUs.

How the outlets of a type are switched, `TYPES` says, or `power` of the `pdu_host`: a kind of power
control and what that is to know, where `{address}`, `{outlet}`, `{in_chain}`, `{username}` and
`{password}` stand for what is said of the input and its host. Another type is such a kind itself.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rhubarbe.errors import SelectionError
from rhubarbe.inventory import Driver

PASSWORD = "{password}"  # noqa: S105 - what stands for one
_EATON = {"make": "eaton", "address": "{address}", "outlet": "{in_chain}.{outlet}"}
# By the type of a PDU, what switches an outlet of it, without a user and with one.
TYPES: Mapping[str, tuple[Driver, Driver]] = MappingProxyType(
    {
        "eaton": (
            Driver("snmp", _EATON | {"community": PASSWORD}),
            Driver("snmp", _EATON | {"version": "3", "user": "{username}", "password": PASSWORD}),
        )
    }
)


@dataclass(frozen=True, slots=True)
class PduHost:
    """One PDU, or a chain of such behind one address."""

    name: str
    type: str
    address: str
    username: str = ""
    password: str = field(default="", repr=False)
    chain_length: int = 1
    power: Driver | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Input:
    """One outlet that a device is plugged into."""

    host: PduHost
    outlet: int
    in_chain: int = 0

    @property
    def name(self) -> str:
        """What people call the outlet."""
        unit = f" unit {self.in_chain}" if self.host.chain_length > 1 else ""
        return f"{self.host.name}{unit} outlet {self.outlet}"

    @property
    def driver(self) -> Driver:
        """What switches the outlet: a kind of power control, which there may not be."""
        host = self.host
        values = {
            "address": host.address,
            "outlet": str(self.outlet),
            "in_chain": str(self.in_chain),
            "username": host.username,
        }
        known = TYPES.get(host.type, (Driver(host.type, {}),) * 2)
        driver = host.power or known[bool(host.username)]
        return Driver(driver.kind, _filled(driver.said, values, host.password))


@dataclass(frozen=True, slots=True)
class Device:
    """What is switched, by all its inputs."""

    name: str
    inputs: tuple[Input, ...]
    description: str = ""
    ssh_hostname: str = ""
    auto_turn_off: bool = False


class Outlets:
    """The devices, in the order of the file, and the PDUs that they are plugged into."""

    def __init__(self, hosts: Iterable[PduHost], devices: Iterable[Device], source: str) -> None:
        self.hosts = tuple(hosts)
        self._devices = {device.name: device for device in devices}
        self._source = source

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def choose(self, names: Sequence[str]) -> list[Device]:
        """Return the devices of these names, each once; raises SelectionError."""
        for name in names:
            if name not in self._devices:
                near = difflib.get_close_matches(name, self._devices, n=3)
                there = f"did you mean {', '.join(near)}?" if near else listed(self._devices)
                raise SelectionError(f"{self._source} has no device {name!r}; {there}")
        return [self._devices[name] for name in dict.fromkeys(names)]


def _filled(said: Mapping[str, Any], values: Mapping[str, str], password: str) -> dict[str, Any]:
    """Return what a control is to know of one input."""

    def fill(value: Any) -> Any:
        if value == PASSWORD:  # never within another text, for it may say where the password is
            return password
        for name, text in values.items() if isinstance(value, str) else ():
            value = value.replace(f"{{{name}}}", text)
        return value

    return {key: fill(value) for key, value in said.items()}


def listed(names: Iterable[str]) -> str:
    """Say which there are."""
    return f"there are {', '.join(names)}" if names else "there are none"
