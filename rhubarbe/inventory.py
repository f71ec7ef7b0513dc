"""The inventory: which nodes there are, with the addresses of each and of its power card.

A JSON list of objects, each with `control` and `cmc`, and perhaps `data`; each of these with
`hostname`, `ip` and `mac`. A node's number is that of its control hostname; its card may bear
another.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhubarbe.errors import InventoryError, SelectionError
from rhubarbe.selector import fold


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface; `mac` is lower case with colons, or empty for a card without one."""

    hostname: str
    ip: str
    mac: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One node of the inventory."""

    number: int
    control: Interface
    cmc: Interface
    data: Interface | None

    @property
    def name(self) -> str:
        """The node's name to users: its full control hostname."""
        return self.control.hostname


class Inventory:
    """The nodes by number."""

    def __init__(self, entries: Iterable[Entry], source: str) -> None:
        self._entries = {entry.number: entry for entry in entries}
        self._source = source

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.number))

    def choose(self, numbers: Iterable[int]) -> list[Entry]:
        """Return the entries of these node numbers; raises SelectionError if one is missing."""
        wanted = list(numbers)
        if missing := [number for number in wanted if number not in self._entries]:
            raise SelectionError(
                f"not in the inventory: {fold(missing)}; {self._source} has {fold(self._entries)}"
            )
        return [self._entries[number] for number in wanted]


def load_inventory(path: Path) -> Inventory:
    """Read an inventory file; raises InventoryError naming the file and the line or the entry."""
    try:
        objects = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InventoryError(
            f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path}: the inventory cannot be read: {error}") from error
    if not isinstance(objects, list):
        raise InventoryError(f"{path}: expected a list of nodes, found {type(objects).__name__}")
    entries = [_entry(f"{path}: entry {rank}", item) for rank, item in enumerate(objects, 1)]
    _require_distinct(path, entries)
    return Inventory(entries, str(path))


def _entry(where: str, item: Any) -> Entry:
    if not isinstance(item, Mapping):
        raise InventoryError(f"{where}: expected an object with cmc and control")
    control = _interface(where, item, "control", needs_mac=True)
    digits = re.search(r"\d+", control.hostname)
    if digits is None:
        raise InventoryError(f"{where}: control.hostname {control.hostname!r} has no number")
    data = _interface(where, item, "data", needs_mac=False) if item.get("data") else None
    cmc = _interface(where, item, "cmc", needs_mac=False)
    return Entry(int(digits.group()), control, cmc, data)


def _interface(where: str, item: Mapping[str, Any], part: str, *, needs_mac: bool) -> Interface:
    values = item.get(part)
    if not isinstance(values, Mapping):
        raise InventoryError(f"{where}: {part}: expected an object with hostname, ip and mac")
    hostname, ip, mac = (values.get(key, "") for key in ("hostname", "ip", "mac"))
    if not isinstance(hostname, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", hostname):
        raise InventoryError(f"{where}: {part}.hostname: expected a host name, found {hostname!r}")
    try:
        address = str(ipaddress.IPv4Address(ip))
    except ValueError as error:
        raise InventoryError(
            f"{where}: {part}.ip: expected an IPv4 address, found {ip!r}"
        ) from error
    if mac or needs_mac:
        return Interface(hostname, address, _mac(f"{where}: {part}.mac", mac))
    return Interface(hostname, address, "")


def _mac(where: str, text: Any) -> str:
    """Normalise a MAC address in any case and with any separator to `02:00:00:00:00:01`."""
    digits = re.sub(r"[^0-9a-z]", "", text.lower()) if isinstance(text, str) else ""
    if not re.fullmatch(r"[0-9a-f]{12}", digits):
        raise InventoryError(f"{where}: expected a MAC address of 12 hex digits, found {text!r}")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _require_distinct(path: Path, entries: list[Entry]) -> None:
    for what, values in {
        "number": [str(entry.number) for entry in entries],
        "control.mac": [entry.control.mac for entry in entries],
        "control.ip": [entry.control.ip for entry in entries],
        "cmc.ip": [entry.cmc.ip for entry in entries],
    }.items():
        seen: set[str] = set()
        for value in values:
            if value in seen:
                raise InventoryError(f"{path}: two nodes have the same {what} {value}")
            seen.add(value)
