"""A section of the configuration, whose values are declared with a `setting` each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self, dataclass_transform


@dataclass(frozen=True, slots=True)
class ValueKind:
    """How the text of a value is read; `expected` completes the sentence "expected ..."."""

    expected: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is declared of one setting; `per_node` where a node may have another value.

    One that only root may decide has no effect in a file that anybody else could have written.
    """

    kind: ValueKind
    default: Any
    help: str
    per_node: bool = False
    by_root: bool = False


def setting(
    kind: ValueKind, default: Any, words: str, *, per_node: bool = False, by_root: bool = False
) -> Any:
    """Return what declares a setting of a section: what it takes, and the words that explain it."""
    return Setting(kind, default, words, per_node, by_root)


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Section:
    """The values of one section, which a subclass declares: frozen, given by name, or the defaults.

    Not a dataclass: to have the methods of a dozen made took longer than to read a configuration.
    """

    _declared: ClassVar[Mapping[str, Setting]]

    def __init_subclass__(cls) -> None:
        names = cls.__annotations__
        cls._declared = MappingProxyType({name: vars(cls)[name] for name in names})

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self._declared.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        defaults = {name: declared.default for name, declared in self._declared.items()}
        vars(self).update(defaults | values)

    @classmethod
    def declared(cls) -> Mapping[str, Setting]:
        """Return what is declared of each of its settings, by name."""
        return cls._declared

    def but(self, **values: Any) -> Self:
        """Return the same section with other values of these names."""
        return type(self)(**vars(self) | values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: it is as it was read")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


def text_of(value: object) -> str:
    """Return a value as it is written in a configuration."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
