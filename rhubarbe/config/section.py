"""A section of the configuration: declared as a dataclass is, made much faster.

Every command reads the configuration first, and seven dataclasses took longer than all the rest.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, dataclass_transform


class Kind(NamedTuple):
    """How the text of a value is read; `expected` completes the sentence "expected ..."."""

    expected: str
    read: Callable[[str], Any]


class Setting(NamedTuple):
    """What is declared of one setting."""

    kind: Kind
    default: Any
    help: str


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Section:
    """The values of one section; its class attributes declare them, each with a `Setting`."""

    declared: ClassVar[Mapping[str, Setting]]

    def __init_subclass__(cls) -> None:
        cls.declared = {
            name: value for name, value in vars(cls).items() if isinstance(value, Setting)
        }

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.declared.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(unknown)}")
        defaults = {name: setting.default for name, setting in self.declared.items()}
        vars(self).update(defaults | values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: it is what was read")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


def text_of(value: Any) -> str:
    """Return a value as it is written in a configuration."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
