"""A section of the configuration: a dataclass whose fields are declared with a `Setting` each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class ValueKind:
    """How the text of a value is read; `expected` completes the sentence "expected ..."."""

    expected: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is declared of one setting; `per_node` where a node may have another value."""

    kind: ValueKind
    default: Any
    help: str
    per_node: bool = False


def setting(kind: ValueKind, default: Any, words: str, *, per_node: bool = False) -> Any:
    """Return the field of a section, declared with what it takes and the words that explain it."""
    declared = Setting(kind, default, words, per_node)
    return field(default=default, metadata={_DECLARED: declared})


class Section:
    """The values of one section; the subclasses are frozen dataclasses of fields by `setting`."""

    __slots__ = ()

    @classmethod
    @cache
    def declared(cls) -> Mapping[str, Setting]:
        """Return what is declared of each of its settings, by name."""
        # A type checker sees only that the subclasses are dataclasses.
        return MappingProxyType({each.name: each.metadata[_DECLARED] for each in fields(cls)})  # type: ignore[arg-type]


_DECLARED = "setting"


def text_of(value: object) -> str:
    """Return a value as it is written in a configuration."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
