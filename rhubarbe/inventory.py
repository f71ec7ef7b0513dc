"""The inventory: which nodes there are, with the addresses of each and of its power card.

A list of objects, or an object that has it as `nodes`, in JSON or YAML; each with `control` and
`cmc`, and perhaps `data`; each of these with `hostname`, `ip` and `mac`. Perhaps with `disk`, which
says which of its disks is meant, as `hard_drive` does; with `power`, where another kind of power
control than such a card switches it, or several do; and with `netboot`, where another kind than
pxelinux makes it boot the ramdisk. A node's number is that of its control hostname, as `number_in`
of `rhubarbe.selector` finds it; its card may bear another.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rhubarbe.concurrency.time_limit import within
from rhubarbe.disks import EXPECTED, read_drive
from rhubarbe.errors import InventoryError, SelectionError
from rhubarbe.selector import fold, number_in
from rhubarbe.shared import own
from rhubarbe.shared.directory import StrPath
from rhubarbe.site_files import READ_WITHIN_S, kind_of, read_site_file

IPV4_BYTES = 4
MAC_DIGITS = 12
MULTICAST = range(224, 240)  # as the first byte of an address
# Of a host name, as the DNS has it; so no number in it is too long to be read.
MOST_LETTERS = 253
_BYTES = frozenset(map(str, range(256)))


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface; `mac` is lower case with colons, or empty for a card without one."""

    hostname: str
    ip: str
    mac: str


@dataclass(frozen=True, slots=True)
class Driver:
    """Who does something for a node: a kind of those that there are, and what that is to know."""

    kind: str
    said: Mapping[str, Any] = field(repr=False)  # there may be a password


@dataclass(frozen=True, slots=True)
class Entry:
    """One node of the inventory."""

    number: int
    control: Interface
    cmc: Interface | None
    data: Interface | None
    disk: str = ""
    power: tuple[Driver, ...] = ()
    netboot: Driver | None = None

    @property
    def name(self) -> str:
        """The node's name to users: its full control hostname."""
        return self.control.hostname

    @property
    def power_drivers(self) -> tuple[Driver, ...]:
        """What controls the node's inputs of power: its card, where nothing else is said."""
        if self.power or self.cmc is None:
            return self.power or (Driver("cmc", {}),)
        return (Driver("cmc", {"address": self.cmc.ip, "name": self.cmc.hostname}),)

    def netboot_driver(self, usual: str) -> Driver:
        """Return what makes the node boot the ramdisk: the `usual` kind, where no other is said.

        What controls the power may do that too: so one of the same kind knows what that one does.
        """
        netboot = self.netboot or Driver(usual, {})
        known = next((each.said for each in self.power if each.kind == netboot.kind), {})
        return Driver(netboot.kind, {**known, **netboot.said})


# What people write, and what is read.
_MEANT = {
    **dict.fromkeys(("disk", "disks", "drive", "hard_drive", "harddrive"), "disk"),
    **dict.fromkeys(("power", "powers"), "power"),
    **dict.fromkeys(("netboot", "netboots"), "netboot"),
}
_UNIQUE: Mapping[str, Callable[[Entry], str]] = {
    "number": lambda entry: str(entry.number),
    "control.mac": lambda entry: entry.control.mac,
    "control.ip": lambda entry: entry.control.ip,
    "cmc.ip": lambda entry: entry.cmc.ip if entry.cmc else "",
}


class Inventory:
    """The nodes by number."""

    def __init__(self, entries: Iterable[Entry], source: str) -> None:
        self._entries = {entry.number: entry for entry in entries}
        self._source = source

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.number))

    def numbers(self) -> dict[str, int]:
        """Return the nodes' numbers by their names."""
        return {entry.name: number for number, entry in self._entries.items()}

    def choose(self, numbers: Iterable[int]) -> list[Entry]:
        """Return the entries of these node numbers; raises SelectionError if one is missing."""
        wanted = list(numbers)
        if missing := [number for number in wanted if number not in self._entries]:
            raise SelectionError(
                f"not in the inventory: {fold(missing)}; {self._source} has {fold(self._entries)}"
            )
        return [self._entries[number] for number in wanted]


def load_inventory(path: StrPath, regularname: str = "") -> Inventory:
    """Read an inventory file; raises InventoryError naming the file and the line or the entry.

    A node's number follows `regularname`, where its name begins so.
    """
    entries, faults = _read(path, regularname)
    if faults:
        others = f"; rhubarbe-inventory --check tells {len(faults) - 1} more" if faults[1:] else ""
        raise InventoryError(faults[0] + others)
    return Inventory(entries, str(path))


def readable_entries(path: StrPath, regularname: str = "") -> tuple[list[Entry], list[str]]:
    """Return the entries that can be read, and what is wrong with the file, each in one line."""
    return _read(path, regularname)


def is_there(path: StrPath) -> bool:
    """Tell whether there is an inventory, or something that cannot be read."""
    try:
        return within(READ_WITHIN_S, own.is_there, path)
    except OSError:
        return True


def _read(path: StrPath, regularname: str) -> tuple[list[Entry], list[str]]:
    try:
        objects = _objects(path)
    except InventoryError as error:
        return [], [str(error)]
    reader = _Reader(regularname)
    read = [reader.entry(f"{path}: entry {rank}", item) for rank, item in enumerate(objects, 1)]
    good = {rank: entry for rank, entry in enumerate(read, 1) if entry is not None}
    return list(good.values()), [*reader.faults, *_doubles(path, good)]


def _objects(path: StrPath) -> list[Any]:
    """Return the list that the file holds, whatever is in that; raises InventoryError."""
    told = read_site_file(path, "no such inventory; rhubarbe-inventory --template prints one")
    objects = told.get("nodes", told) if isinstance(told, dict) else told
    if isinstance(objects, list):
        return objects
    without = " without nodes" if isinstance(objects, dict) and objects is told else ""
    raise InventoryError(f"{path}: expected a list of nodes, found {kind_of(objects)}{without}")


class _Reader:
    """Reads entries, and collects what is wrong with them."""

    def __init__(self, regularname: str) -> None:
        self._regularname = regularname
        self.faults: list[str] = []

    def entry(self, where: str, item: Any) -> Entry | None:
        """Return one node, or None where it has a fault."""
        before = len(self.faults)
        if not isinstance(item, dict):
            self.faults.append(f"{where}: expected an object with cmc and control")
            return None
        control = self._interface(where, item, "control", needs_mac=True)
        number = number_in(control.hostname, self._regularname)
        if control.hostname and number is None:
            self.faults.append(f"{where}: control.hostname {control.hostname!r} has no number")
        data = self._interface(where, item, "data", needs_mac=False) if item.get("data") else None
        power = self._power(where, item)
        netboot = self._driver(where, item["netboot"], "netboot") if "netboot" in item else None
        has_card = "power" not in item or "cmc" in item
        cmc = self._interface(where, item, "cmc", needs_mac=False) if has_card else None
        self._misplaced(where, item)
        disk = self._disk(where, item)
        if number is None or len(self.faults) > before:
            return None
        return Entry(number, control, cmc, data, disk, power, netboot)

    def _misplaced(self, where: str, item: Mapping[str, Any]) -> None:
        """Complain of what looks like `disk`, `power` or `netboot`, and would be passed over."""
        parts = {"": item} | {f"{part}.": item.get(part) for part in ("control", "cmc", "data")}
        for place, values in parts.items():
            for key in values if isinstance(values, dict) else ():
                meant = _MEANT.get(key.lower())
                if meant and (place or key != meant):
                    said = f'say "{meant}", beside control and cmc'
                    self.faults.append(f"{where}: {place}{key}: {said}")

    def _disk(self, where: str, item: Mapping[str, Any]) -> str:
        if "disk" not in item:
            return ""
        text = item["disk"]
        try:
            return read_drive(text if isinstance(text, str) else "")
        except ValueError:
            self.faults.append(f"{where}: disk: expected {EXPECTED}; found {text!r}")
            return ""

    def _power(self, where: str, item: Mapping[str, Any]) -> tuple[Driver, ...]:
        """Return what switches the node: an object, or a list with one for each of its inputs."""
        if "power" not in item:
            return ()
        said = item["power"]
        parts = input_names(len(said)) if isinstance(said, list) else []
        named = zip(parts, said, strict=True) if parts else [("power", said)]
        return tuple(filter(None, [self._driver(where, each, part) for part, each in named]))

    def _driver(self, where: str, said: Any, part: str) -> Driver | None:
        """Return who does something for the node; whether there is such a kind, others know."""
        if not isinstance(said, dict) or not isinstance(said.get("kind"), str):
            # Its values, and what stands there instead of it, may be a password.
            found = "one without" if isinstance(said, dict) else kind_of(said)
            self.faults.append(f'{where}: {part}: expected an object with "kind", found {found}')
            return None
        return Driver(said["kind"], {key: said[key] for key in said if key != "kind"})

    def _interface(
        self, where: str, item: Mapping[str, Any], part: str, *, needs_mac: bool
    ) -> Interface:
        values = item.get(part)
        if not isinstance(values, dict):
            self.faults.append(f"{where}: {part}: expected an object with hostname, ip and mac")
            return Interface("", "", "")
        hostname, ip, mac = (values.get(key, "") for key in ("hostname", "ip", "mac"))
        address = _mac(mac) if mac or needs_mac else ""
        for key, value, expected, is_good in (
            ("hostname", hostname, "a host name", is_hostname(hostname)),
            ("ip", ip, "an IPv4 address", is_address(ip)),
            ("ip", ip, "that of one host", not is_address(ip) or is_of_a_host(ip)),
            ("mac", mac, "a MAC address of 12 hex digits", address is not None),
        ):
            if not is_good:
                found = "nothing" if value == "" else repr(value)
                self.faults.append(f"{where}: {part}.{key}: expected {expected}, found {found}")
        return Interface(hostname if is_hostname(hostname) else "", str(ip), address or "")


def input_names(count: int) -> list[str]:
    """Return what messages call each of so many inputs of power."""
    return [f"power[{rank}]" for rank in range(1, count + 1)] if count > 1 else ["power"] * count


def is_hostname(text: object) -> bool:
    """Tell whether this is a host name, or an address."""
    if not isinstance(text, str) or len(text) > MOST_LETTERS:
        return False
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text) is not None


def is_address(text: object) -> bool:
    """Tell whether this is an IPv4 address."""
    # The library for addresses takes its time to import.
    parts = text.split(".") if isinstance(text, str) else []
    return len(parts) == IPV4_BYTES and all(part in _BYTES for part in parts)


def is_of_a_host(address: str) -> bool:
    """Tell whether an IPv4 address may be one host's: not multicast, broadcast, or unspecified."""
    is_multicast = int(address.partition(".")[0]) in MULTICAST
    return not is_multicast and address not in ("0.0.0.0", "255.255.255.255")  # noqa: S104


def _mac(text: object) -> str | None:
    """Normalise a MAC address in any case and with any separator to `02:00:00:00:00:01`.

    In YAML, one of digits only is a number.
    """
    digits = "".join(filter(str.isalnum, str(text).lower())) if isinstance(text, str | int) else ""
    if len(digits) != MAC_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return None
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _doubles(path: StrPath, entries: Mapping[int, Entry]) -> Iterator[str]:
    """Yield what several nodes have in common that each must have for itself; keys are ranks."""
    for what, value_of in _UNIQUE.items():
        ranks: dict[str, list[int]] = {}
        for rank, entry in entries.items():
            if value := value_of(entry):
                ranks.setdefault(value, []).append(rank)
        for value, several in ranks.items():
            if len(several) > 1:
                names = ", ".join(entries[rank].name for rank in several)
                yield f"{path}: entries {fold(several)} ({names}): the same {what} {value}"


def inventory_template(regularname: str, rebootname: str) -> str:
    """Return an inventory of two nodes to start from; the second has one interface."""
    parts = {"cmc": (rebootname, 1), "control": (regularname, 3), "data": ("data", 2)}
    entries = [
        {
            part: {
                "hostname": f"{name}{number:02d}",
                "ip": f"192.168.{network}.{number}",
                "mac": f"02:00:00:00:{network:02x}:{number:02x}",
            }
            for part, (name, network) in parts.items()
            if part != "data" or number == 1
        }
        for number in (1, 2)
    ]
    return json.dumps(entries, indent=2)
