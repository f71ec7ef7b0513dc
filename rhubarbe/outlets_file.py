"""The file of PDUs and of the devices that are plugged into them.

An object in YAML or JSON with `pdu_hosts`, each with `name`, `type`, `IP`, and perhaps `username`,
`password` and `chain_length`, how many such units are chained behind that address; and `devices`,
each with `name`, `inputs`, and perhaps `description`, `ssh_hostname`, by which it is shut down
first, and `auto_turn_off`, at the end of the day. An input is `pdu_host_name`, `outlet`, from 1 on,
and perhaps `in_chain`, from 0 on. A device of several inputs is off only if all are.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rhubarbe.errors import InventoryError
from rhubarbe.inventory import Driver, is_address, is_hostname, is_of_a_host
from rhubarbe.outlets import Device, Input, Outlets, PduHost, listed
from rhubarbe.shared.directory import StrPath
from rhubarbe.site_files import kind_of, read_site_file
from rhubarbe.text import and_more

MOST_IN_CHAIN = 64
MOST_OUTLETS = 1024
FLAGS = MappingProxyType(
    {**dict.fromkeys(("true", "yes", "on"), True), **dict.fromkeys(("false", "no", "off"), False)}
)
HOST_KEYS = ("name", "type", "IP", "username", "password", "chain_length", "power")
DEVICE_KEYS = ("name", "description", "ssh_hostname", "auto_turn_off", "inputs")
INPUT_KEYS = ("pdu_host_name", "outlet", "in_chain")
NO_FILE = (
    "no such file of PDUs, as inventory_pdus_path in [testbed]; rhubarbe-template -u prints one"
)
NO_INPUTS = (
    "expected where it is plugged in, as in [{pdu_host_name: pdu1, outlet: 1}], found nothing"
)


def load_outlets(path: StrPath) -> Outlets:
    """Read the file of PDUs; raises InventoryError naming the file and what is wrong in it."""
    reader = _Reader()
    hosts, devices = reader.read(path)
    if reader.faults:
        others = and_more(len(reader.faults) - 1, "more faults")
        raise InventoryError(f"{path}: {reader.faults[0]}{others}")
    return Outlets(hosts.values(), devices, str(path))


def outlet_faults(path: StrPath) -> list[str]:
    """Return all that is wrong with a file of PDUs, each in one line."""
    reader = _Reader()
    try:
        reader.read(path)
    except InventoryError as error:
        return [str(error)]
    return [f"{path}: {fault}" for fault in reader.faults]


class _Reader:
    """Reads PDUs and devices, and collects what is wrong with them."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def read(self, path: StrPath) -> tuple[dict[str, PduHost], list[Device]]:
        told = read_site_file(path, NO_FILE)
        if not isinstance(told, dict) or not {"pdu_hosts", "devices"} & told.keys():
            self.faults.append(
                f"expected an object with pdu_hosts and devices, found {kind_of(told)}"
            )
            return {}, []
        hosts: dict[str, PduHost] = {}
        for where, item in self._objects("pdu_hosts", told.get("pdu_hosts")):
            if host := self._host(where, item):
                self._once(where, host.name, hosts)
                hosts[host.name] = host
        devices: dict[str, Device] = {}
        for where, item in self._objects("devices", told.get("devices")):
            if device := self._device(where, item, hosts):
                self._once(where, device.name, devices)
                devices[device.name] = device
        self._shared(devices.values())
        return hosts, list(devices.values())

    def _objects(self, what: str, items: object) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the objects of a list, each with its place; nothing is an empty list."""
        if not isinstance(items, list):
            if items is not None:
                self.faults.append(f"{what}: expected a list, found {kind_of(items)}")
            return
        for rank, item in enumerate(items, 1):
            if isinstance(item, dict):
                yield f"{what}: entry {rank}", item
            else:
                self.faults.append(
                    f"{what}: entry {rank}: expected an object, found {kind_of(item)}"
                )

    def _once(self, where: str, name: str, there: Mapping[str, object]) -> None:
        if name in there:
            self.faults.append(f"{where}: {name} for the second time")

    def _host(self, where: str, item: Mapping[str, Any]) -> PduHost | None:
        before = len(self.faults)
        values = _Values(self.faults, where, item, HOST_KEYS)
        name, kind = values.name("name"), values.name("type")
        key = "IP" if "IP" in item else "ip" if "ip" in item else "IP"
        address = values.name(key)
        if is_address(address) and not is_of_a_host(address):
            self.faults.append(f"{where}: {key}: expected that of one host, found {address!r}")
        length = values.number("chain_length", 1, MOST_IN_CHAIN, 1)
        power = values.driver("power")
        texts = values.text("username"), values.text("password")
        if len(self.faults) > before:
            return None
        return PduHost(name, kind, address, *texts, length, power)

    def _device(
        self, where: str, item: Mapping[str, Any], hosts: Mapping[str, PduHost]
    ) -> Device | None:
        before = len(self.faults)
        values = _Values(self.faults, where, item, DEVICE_KEYS)
        name = values.name("name")
        ssh = values.name("ssh_hostname") if item.get("ssh_hostname") else ""
        flag, description = values.flag("auto_turn_off"), values.text("description")
        inputs = [
            self._input(f"{where}, {place}", each, hosts)
            for place, each in self._objects("inputs", item.get("inputs"))
        ]
        if not item.get("inputs"):
            self.faults.append(f"{where}: inputs: {NO_INPUTS}")
        if len(self.faults) > before:
            return None
        return Device(name, tuple(filter(None, inputs)), description, ssh, flag)

    def _input(
        self, where: str, item: Mapping[str, Any], hosts: Mapping[str, PduHost]
    ) -> Input | None:
        values = _Values(self.faults, where, item, INPUT_KEYS)
        wanted = values.name("pdu_host_name")
        outlet = values.number("outlet", 1, MOST_OUTLETS, None)
        host = hosts.get(wanted)
        if wanted and host is None:
            self.faults.append(f"{where}: pdu_host_name: no {wanted} there; {listed(hosts)}")
        length = host.chain_length if host else MOST_IN_CHAIN
        in_chain = values.number("in_chain", 0, length - 1, 0)
        return Input(host, outlet, in_chain) if host else None

    def _shared(self, devices: Iterable[Device]) -> None:
        """Complain of an outlet that would switch two devices."""
        users: dict[tuple[str, int, int], str] = {}
        for device in devices:
            for each in device.inputs:
                place = (each.host.address, each.in_chain, each.outlet)
                if place in users:
                    who = f"{users[place]} and {device.name}"
                    self.faults.append(f"{each.name}: plugged in there are {who}")
                users[place] = device.name


class _Values:
    """The values of one object, read one by one."""

    def __init__(
        self, faults: list[str], where: str, item: Mapping[str, Any], known: Sequence[str]
    ) -> None:
        self._faults = faults
        self._where = where
        self._item = item
        # A key that nobody knows may be another program's; one that is nearly ours is not.
        for key in item:
            if key not in (*known, "ip") and (near := difflib.get_close_matches(key, known, n=1)):
                faults.append(f"{where}: unknown key {key!r}; did you mean {near[0]}?")

    def _expected(self, key: str, what: str, *, secret: bool = False) -> None:
        value = self._item.get(key)
        is_short = isinstance(value, str | int | float) and not secret
        found = "nothing" if value in ("", None) else repr(value) if is_short else kind_of(value)
        self._faults.append(f"{self._where}: {key}: expected {what}, found {found}")

    def name(self, key: str) -> str:
        value = self._item.get(key)
        text = "" if isinstance(value, bool) or value is None else str(value)
        if not is_hostname(text):
            self._expected(key, "letters, digits, dots, dashes and underscores")
            return ""
        return text

    def text(self, key: str) -> str:
        value = self._item.get(key)
        if isinstance(value, bool | list | dict):
            self._expected(key, "text", secret=True)
            return ""
        return "" if value is None else str(value)

    def number(self, key: str, least: int, most: int, default: int | None) -> int:
        value = self._item.get(key, default)
        is_well = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        if not is_well:
            self._expected(key, f"a whole number from {least} to {most}")
            return least
        return int(value)

    def flag(self, key: str) -> bool:
        value = self._item.get(key)
        word = "false" if value is None else str(value).lower()
        if word not in FLAGS:
            self._expected(key, "yes or no")
        return FLAGS.get(word, False)

    def driver(self, key: str) -> Driver | None:
        value = self._item.get(key)
        if value is None:
            return None
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            self._expected(key, "an object with kind", secret=True)
            return None
        return Driver(value["kind"], {name: value[name] for name in value if name != "kind"})
