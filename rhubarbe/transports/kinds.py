"""Tables of kinds: who does for a node what there are several ways to do.

Which kind a node has, and what that is to know, the inventory says. Each kind declares which keys
it takes there, as a section of the configuration declares its settings.
"""

import contextlib
import importlib
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rhubarbe.config.secrets import Secret
from rhubarbe.config.section import Section, ValueKind
from rhubarbe.config.values import FLAG, SECRET
from rhubarbe.inventory import Driver, Entry, is_address, is_of_a_host

# The default of a key that has none: whoever names the kind has to give it.
REQUIRED: Any = object()

LONGEST_QUOTE = 100


@dataclass(frozen=True, slots=True)
class OfNode:
    """The default of a key that is the node's own, where the inventory says no other."""

    found: Callable[[Entry], str]


NODE_NAME: Any = OfNode(lambda entry: entry.name)
NODE_ADDRESS: Any = OfNode(lambda entry: entry.control.ip)
NODE_MAC: Any = OfNode(lambda entry: entry.control.mac)


class Words(ValueKind):
    """A value that may be a list of words in the inventory, or a text that is split as in a shell.

    It is read from the text.
    """


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError(text)
    return text


def _address_of_a_host(text: str) -> str:
    if not is_of_a_host(_address(text)):
        raise ValueError(text)
    return text


ADDRESS = ValueKind("an IPv4 address of one host", _address_of_a_host)
ANY_ADDRESS = ValueKind("an IPv4 address", _address)


class OfAKind(Protocol):
    """What a class must have to be in a table."""

    takes: ClassVar[type[Section]]


Class = TypeVar("Class", bound=OfAKind)


class Kinds(Generic[Class]):
    """A table: the module and class of each kind, imported only where a node has it."""

    def __init__(self, what: str, table: Mapping[str, str]) -> None:
        """Name with `what` the object in a node's entry of the inventory."""
        self._what = what
        self._table = table

    def named(self, kind: str) -> type[Class]:
        """Return the class of a kind; raises KeyError."""
        module, _, name = self._table[kind].rpartition(".")
        found: type[Class] = getattr(importlib.import_module(module), name)
        return found

    def values(self, driver: Driver, entry: Entry | None = None) -> Section:
        """Return what a kind is to know of a node; whatever is wrong with it was told before."""
        takes = self.named(driver.kind).takes
        declared = takes.declared()
        own = {
            key: setting.default.found(entry) if entry else ""
            for key, setting in declared.items()
            if isinstance(setting.default, OfNode)
        }
        said = {key: declared[key].kind.read(_text(value)) for key, value in driver.said.items()}
        return takes(**own | said)

    def secrets(self, driver: Driver) -> Iterator[tuple[str, Secret]]:
        """Yield the secrets that are said of a node, each with its key."""
        for key, value in vars(self.values(driver)).items():
            if isinstance(value, Secret) and value:
                yield key, value

    def faults(self, driver: Driver, part: str = "") -> Iterator[str]:
        """Yield what is wrong with a node's object, each in one line that calls it `part`."""
        what = part or self._what
        if driver.kind not in self._table:
            known = ", ".join(sorted(self._table))
            yield f"{what}: there is no kind {_quoted(driver.kind)}, but {known}"
            return
        takes = self.named(driver.kind).takes.declared()
        for key, value in driver.said.items():
            if key not in takes:
                known = ", ".join(takes)
                yield f"{what}: {driver.kind} knows no {_quoted(key)}, but {known}"
            elif fault := _fault(takes[key].kind, value):
                yield f"{what}.{key}: {fault}"
        for key, setting in takes.items():
            if setting.default is REQUIRED and key not in driver.said:
                yield f"{what}.{key}: expected {setting.kind.expected}, found nothing"


def _fault(kind: ValueKind, value: object) -> str:
    """Say what is wrong with a value of JSON; empty where nothing is."""
    listed = value if isinstance(kind, Words) and isinstance(value, list) else [value]
    with contextlib.suppress(ValueError, KeyError, OverflowError):
        if all(map(_is_text, listed)) or (kind is FLAG and isinstance(value, bool)):
            kind.read(_writable(_text(value)))
            return ""
    found = "another" if kind is SECRET else _quoted(value)
    return f"expected {kind.expected}, found {found}"


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    """Return a value as it is read: words of a list each in quotes where it needs any."""
    return shlex.join(map(str, value)) if isinstance(value, list) else str(value)


def _writable(text: str) -> str:
    """Return a text, unless no file can be called so: a NUL in it, or half a letter."""
    text.encode()  # a UnicodeEncodeError is a ValueError
    if "\0" in text:
        raise ValueError(text)
    return text


def _quoted(value: object) -> str:
    """Quote a value of JSON as far as a line is the clearer for it."""
    if isinstance(value, dict | list):  # a password may be anywhere in it
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}…"
