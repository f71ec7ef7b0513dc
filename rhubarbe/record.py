"""Frozen records, declared as dataclasses are, for what every command starts with.

To import `dataclasses` or `typing`, and to have them make some classes, took longer than to read
the configuration and the inventory.
"""

from __future__ import annotations

from rhubarbe import TYPE_CHECKING

__all__ = ["Record", "dataclass_transform"]

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Callable[[type], type]:
        """Tell checkers of types what they alone need to know."""
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Record:
    """The annotated attributes of a class, given in this order or by name; defaults are optional.

    Records are equal where class and values are. Fields are not inherited.
    """

    fields: ClassVar[tuple[str, ...]]
    defaults: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        cls.fields = tuple(cls.__annotations__)
        cls.defaults = {name: vars(cls)[name] for name in cls.fields if name in vars(cls)}

    def __init__(self, *values: Any, **named: Any) -> None:
        if named or len(values) != len(self.fields):
            values = self._in_order(values, named)
        vars(self).update(zip(self.fields, values, strict=True))

    @classmethod
    def _in_order(cls, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        placed = dict(zip(cls.fields, values, strict=False))
        given = cls.defaults | placed | named
        if unknown := given.keys() - set(cls.fields):
            raise TypeError(f"{cls.__name__} has no {', '.join(unknown)}")
        if missing := set(cls.fields) - given.keys():
            raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
        if len(values) > len(placed) or named.keys() & placed.keys():
            raise TypeError(f"{cls.__name__} takes {', '.join(cls.fields)}, each once")
        return tuple(given[name] for name in cls.fields)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: it is as it was made")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"
