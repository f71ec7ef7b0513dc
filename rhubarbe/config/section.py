"""A section of the configuration: a record whose fields are declared with a `Setting` each."""

from __future__ import annotations

from rhubarbe import TYPE_CHECKING
from rhubarbe.record import Record, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar


class Kind(Record):
    """How the text of a value is read; `expected` completes the sentence "expected ..."."""

    expected: str
    read: Callable[[str], Any]


class Setting(Record):
    """What is declared of one setting; `per_node` where a node may have another value."""

    kind: Kind
    default: Any
    help: str
    per_node: bool = False


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Section(Record):
    """The values of one section; its class attributes declare them, each with a `Setting`."""

    declared: ClassVar[Mapping[str, Setting]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.declared = cls.defaults
        cls.defaults = {name: setting.default for name, setting in cls.declared.items()}

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)


def text_of(value: Any) -> str:
    """Return a value as it is written in a configuration."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
