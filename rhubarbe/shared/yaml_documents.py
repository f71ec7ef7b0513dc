"""YAML that a stranger wrote, as values that JSON could tell: bounded, and nothing guessed.

What is written plainly is a number, true, false or null only where it is written the one way in
which that is printed. Else it stays text: `on`, `no`, `010`, `1e3`, `1.10`, `52:54:00:12:34:56` and
dates mean themselves, and where text is wanted, none is lost. A key is text, and is there once.
Aliases and merged keys (`<<`) count for all that they stand for.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

DEEPEST = 12
MOST_VALUES = 100_000
LONGEST_QUOTE = 80
MERGE = "<<"
# Where a secret comes from: a tag means the same as a text that begins so.
SOURCES = frozenset({"!env", "!file", "!command"})
_STANDARD = "tag:yaml.org,2002:"
_AS_THEY_ARE = frozenset({f"{_STANDARD}{kind}" for kind in ("map", "seq", "int", "float", "null")})
_AS_TEXT = frozenset({"!", f"{_STANDARD}str"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_BROKEN = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")


class NotYaml(ValueError):
    """What is no YAML, or none that we take; the words begin with the line."""


@dataclass(frozen=True, slots=True)
class _Built:
    """A value, with how many values are in it, itself included, and how deep they are."""

    value: Any
    size: int = 1
    depth: int = 0


def parse_yaml(text: str, deepest: int = DEEPEST) -> Any:
    """Return what YAML tells; raises NotYaml."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(yaml.parse(text, Loader=loader), deepest).document()
    except yaml.MarkedYAMLError as error:
        line, column = (mark.line, mark.column) if (mark := error.problem_mark) else (0, 0)
        # What the line says is not told: the file may be a link to another, with secrets in it.
        words = (error.problem or error.context or "no YAML").partition(" '!")[0]
        there = "".join(text.splitlines()[line : line + 1])
        if there[column : column + 1] == "\t" or re.match(r" *\t", there):
            words = "a tab, where YAML wants blanks"
        raise NotYaml(f"line {line + 1}: {words}") from error
    except yaml.YAMLError as error:
        raise NotYaml(" ".join(str(error).split())) from error


class _Builder:
    """Makes values of the parser's events."""

    def __init__(self, events: Iterator[Event], deepest: int) -> None:
        self._events = events
        self._deepest = deepest
        self._anchors: dict[str, _Built] = {}
        self._left = MOST_VALUES

    def document(self) -> Any:
        next(self._events)
        if not isinstance(next(self._events), DocumentStartEvent):
            return None
        value = self._built(next(self._events), 0).value
        next(self._events)
        if not isinstance(second := next(self._events), StreamEndEvent):
            raise self._fault(second, "a second document begins: only one is read")
        return value

    def _built(self, event: Event, depth: int) -> _Built:
        """Return the value that an event begins."""
        if depth > self._deepest:
            raise self._fault(event, f"nested more than {self._deepest} deep")
        if isinstance(event, AliasEvent):
            built = self._aliased(event, depth)
        elif isinstance(event, ScalarEvent):
            built = _Built(self._scalar(event))
        elif isinstance(event, SequenceStartEvent):
            built = self._sequence(event, depth)
        elif isinstance(event, MappingStartEvent):
            built = self._mapping(event, depth)
        else:
            raise self._fault(event, "a value is missing")
        self._count(event, built.size if isinstance(event, AliasEvent) else 1)
        if event.anchor and not isinstance(event, AliasEvent):
            self._anchors[event.anchor] = built
        return built

    def _count(self, event: Event, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise self._fault(event, f"more than {MOST_VALUES} values, those of aliases included")

    def _aliased(self, event: AliasEvent, depth: int) -> _Built:
        """Return what an alias stands for, which must be complete before it."""
        name = str(event.anchor)
        built = self._anchors.get(name)
        if built is None:
            raise self._fault(event, "an alias, and nothing before it is called so")
        if depth + built.depth > self._deepest:
            raise self._fault(event, f"nested more than {self._deepest} deep")
        return built

    def _sequence(self, event: SequenceStartEvent, depth: int) -> _Built:
        items: list[_Built] = []
        while not isinstance(inner := next(self._events), SequenceEndEvent):
            items.append(self._built(inner, depth + 1))
        values: Any = [item.value for item in items]
        if event.tag == "!command":
            if not values or any(isinstance(value, list | dict) for value in values):
                raise self._fault(event, "!command: expected the words of a command")
            values = f"!command {shlex.join(map(_as_written, values))}"
        elif event.tag:
            self._require(event, event.tag in _AS_THEY_ARE)
        return _around(values, items)

    def _mapping(self, event: MappingStartEvent, depth: int) -> _Built:
        if event.tag:
            self._require(event, event.tag in _AS_THEY_ARE)
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        items: list[_Built] = []
        while not isinstance(key := next(self._events), MappingEndEvent):
            name = self._key(key, own)
            items.append(built := self._built(next(self._events), depth + 1))
            if name is not None:
                own[name] = built.value
            elif merged:
                raise self._fault(key, f"key {MERGE} for the second time")
            else:
                merged = self._merged(key, built)
        return _around({**merged, **own}, items)

    def _key(self, event: Event, there: dict[str, Any]) -> str | None:
        """Return a key as it is written; None for the one that merges."""
        if not isinstance(event, ScalarEvent) or (event.tag and event.tag not in _AS_TEXT):
            raise self._fault(event, "a key that is no text")
        if event.value == MERGE and event.implicit[0]:
            return None
        if event.value in there:
            raise self._fault(event, f"key {event.value[:LONGEST_QUOTE]!r} for the second time")
        return str(event.value)

    def _merged(self, event: Event, built: _Built) -> dict[str, Any]:
        """Return the keys to be merged; of several objects, the first that has a key counts."""
        objects = built.value if isinstance(built.value, list) else [built.value]
        if not all(isinstance(each, dict) for each in objects):
            raise self._fault(event, f"{MERGE} merges an object, or a list of such")
        return {key: value for each in reversed(objects) for key, value in each.items()}

    def _scalar(self, event: ScalarEvent) -> Any:
        text: str = event.value
        if event.tag in SOURCES:
            if not text.strip():
                raise self._fault(event, f"{event.tag} of nothing")
            return f"{event.tag} {text.strip()}"
        if event.tag and event.tag not in _AS_TEXT:
            self._require(event, event.tag in _AS_THEY_ARE or event.tag == f"{_STANDARD}bool")
        is_plain = event.implicit[0] or (event.tag and event.tag not in _AS_TEXT)
        return _plain(text) if is_plain else text

    def _require(self, event: NodeEvent, well: bool) -> None:  # noqa: FBT001 - what is required
        if not well:
            tag = str(getattr(event, "tag", ""))
            name = f"tag {tag}" if tag in SOURCES else "a tag that"
            known = ", ".join(sorted(SOURCES))
            raise self._fault(event, f"{name} means nothing here; {known} do")

    @staticmethod
    def _fault(event: Event, words: str) -> NotYaml:
        line = event.start_mark.line + 1 if event.start_mark else 1
        return NotYaml(f"line {line}: {words}")


def _around(value: Any, items: list[_Built]) -> _Built:
    depth = 1 + max((item.depth for item in items), default=-1)
    return _Built(value, 1 + sum(item.size for item in items), depth)


def _plain(text: str) -> Any:
    """Return what a plain text stands for: itself, unless nothing would be lost."""
    if text in _NULL:
        return None
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _BROKEN.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    return text


def _as_written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
