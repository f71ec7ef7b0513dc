"""The order of what several users noted, with dates by a clock that may have jumped. Pure."""

import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar


class Dated(Protocol):
    """What has a date, in seconds since the epoch."""

    @property
    def started(self) -> float:
        """When that was, by the clock of that time."""


Note = TypeVar("Note", bound=Dated)


def in_order(histories: Iterable[Sequence[Note]], now: float | None = None) -> list[Note]:
    """Merge the notes of all users by their dates; each user's stay in the order of noting.

    Where dates of one user contradict that order, or are in the future, as many as possible are
    believed; a note whose date is not comes right after the one before it.
    """
    present = time.time() if now is None else now
    dated = [
        (date, note)
        for notes in histories
        for date, note in zip(_dates([each.started for each in notes], present), notes, strict=True)
    ]
    return [note for _, note in sorted(dated, key=lambda pair: pair[0])]


def _dates(told: Sequence[float], now: float) -> list[float]:
    """Return dates that never go back: those told that are believed, else the one before."""
    believed = _longest_rising([(date, at) for at, date in enumerate(told) if date <= now])
    found: list[float] = []
    for at, date in enumerate(told):
        found.append(date if at in believed else found[-1] if found else 0.0)
    return found


def _longest_rising(dates: Sequence[tuple[float, int]]) -> set[int]:
    """Return where the longest part of the dates is that, in this order, never goes back."""
    ends: list[float] = []  # for each length of such a part, the earliest date that it can end with
    last: list[int] = []
    before: dict[int, int | None] = {}
    for date, at in dates:
        length = bisect_right(ends, date)
        before[at] = last[length - 1] if length else None
        ends[length : length + 1] = [date]
        last[length : length + 1] = [at]
    found: set[int] = set()
    at_last = last[-1] if last else None
    while at_last is not None:
        found.add(at_last)
        at_last = before[at_last]
    return found
