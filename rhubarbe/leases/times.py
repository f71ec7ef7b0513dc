"""Times as people write them, in this machine's zone or with an offset, and back (pure).

A time that the clocks skip, or that they show twice, is refused rather than guessed.
"""

import re
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day

from rhubarbe.errors import LeaseError
from rhubarbe.leases.lease import LATEST

FORMS = "now, 14:30, 2026-10-25T14:30 (perhaps with +01:00 or Z), today, tomorrow, or +2h30m"

_DURATION = re.compile(r"\+(?=\d)(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,8})m)?")
_CLOCK = re.compile(r"(\d\d?):(\d\d)")
_DAY = 86400


def read_period(begin: str, end: str, now: float) -> tuple[float, float]:
    """Return when FROM and UNTIL are, in seconds since the epoch; raises LeaseError.

    A duration counts from now, or from FROM; a time of day is today's, or the first after FROM.
    """
    begins = read_time(begin, now)
    ends = read_time(end, begins, after=True)
    if ends <= begins:
        raise LeaseError(f"from {begin} until {end}: a lease must end after it begins")
    return begins, ends


def read_time(text: str, base: float, *, after: bool = False) -> float:
    """Return when `text` is, counted from `base`; raises LeaseError.

    With `after`, a time of day that is not later than `base` is the next day's.
    """
    error: Exception | None = None
    try:
        seconds = _read(text, base, after=after)
        if 0 <= seconds < LATEST:
            return seconds
    except (ValueError, OverflowError, OSError) as foreign:
        error = foreign
    raise LeaseError(f"{text!r} is no time: write {FORMS}") from error


def _read(text: str, base: float, *, after: bool) -> float:
    if text == "now":
        return base
    if found := _DURATION.fullmatch(text):
        days, hours, minutes = (int(part or 0) for part in found.groups())
        return base + days * _DAY + hours * 3600 + minutes * 60
    today = datetime.fromtimestamp(base).date()
    if text in ("today", "tomorrow"):
        return _local(datetime.combine(today + timedelta(days=text == "tomorrow"), time_of_day()))
    if found := _CLOCK.fullmatch(text):
        moment = time_of_day(int(found[1]), int(found[2]))
        days = 1 if after and not _is_later(today, moment, base) else 0
        return _local(datetime.combine(today + timedelta(days=days), moment))
    written = datetime.fromisoformat(text)
    return _local(written) if written.tzinfo is None else written.timestamp()


def _is_later(day: date, moment: time_of_day, base: float) -> bool:
    return datetime.combine(day, moment.replace(fold=1)).timestamp() > base


def _local(naive: datetime) -> float:
    """Return when this machine's clocks show this; raises LeaseError where not exactly once."""
    first, second = (naive.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first.timestamp()
    shown = [moment.astimezone() for moment in sorted((first, second))]
    if shown[0].replace(tzinfo=None) != naive:
        raise LeaseError(
            f"{naive:%Y-%m-%d %H:%M} does not exist here: the clocks are put forward then"
        )
    either = " or ".join(moment.isoformat(timespec="minutes") for moment in shown)
    raise LeaseError(f"{naive:%Y-%m-%d %H:%M} comes twice here, when clocks are put back: {either}")


def moment(seconds: float) -> str:
    """Word a time for people: date, time and zone, so that it is never in doubt."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M %Z}"


def clock(seconds: float, now: float) -> str:
    """Word a time that is near: without its date where that is today's."""
    words = moment(seconds)
    return words[11:] if words[:10] == moment(now)[:10] else words


def iso(seconds: float) -> str:
    """Word a time for programs: ISO 8601, with this machine's offset."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def duration(seconds: float) -> str:
    """Word a duration: `45 s`, `5 min`, `2 h 30 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    for (many, unit), (few, smaller) in (
        ((days, "d"), (hours_left, "h")),
        ((hours, "h"), (minutes_left, "min")),
        ((minutes, "min"), (rest, "s")),
    ):
        if many:
            return f"{many} {unit} {few} {smaller}" if few else f"{many} {unit}"
    return f"{rest} s"
