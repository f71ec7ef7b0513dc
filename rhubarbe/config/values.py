"""Kinds of values: what the text of one may be, and how it is read.

Each reads what is in a file of the configuration, or in the inventory; ValueError or KeyError
where it cannot be.
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rhubarbe.config.secrets import EXPECTED as EXPECTED_SECRET
from rhubarbe.config.secrets import read_secret
from rhubarbe.config.section import ValueKind
from rhubarbe.disks import EXPECTED, PARTITION_EXPECTED, read_drive, read_partition

HIGHEST_PORT = 65535
FLAGS = {"yes": True, "true": True, "no": False, "false": False}


def among(*names: str, in_any_case: bool = False) -> Callable[[str], str]:
    """Return what reads one of these names; where it reads any case, as they are written here."""
    if in_any_case:
        folded = {name.lower(): name for name in names}
        return lambda text: folded[text.lower()]
    return {name: name for name in names}.__getitem__


def one_of(*names: str, in_any_case: bool = False) -> ValueKind:
    """Return the kind whose values are these names."""
    return ValueKind(f"one of {', '.join(names)}", among(*names, in_any_case=in_any_case))


def between(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number, both of these included."""

    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return read


def _at_least(minimum: float, number: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = number(text)
        if not minimum <= value < float("inf"):
            raise ValueError(text)
        return value

    return read


_port = between(1, HIGHEST_PORT)


def _non_empty(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _with_star(text: str) -> str:
    if text.count("*") != 1:
        raise ValueError(text)
    return text


def _port_pattern(text: str) -> str:
    base, plus, star = (part.strip() for part in text.partition("+"))
    if (plus, star) != ("+", "*"):
        raise ValueError(text)
    _port(base)
    return text


def _tftp(text: str) -> str:
    address, colon, port = text.partition(":")
    if text not in ("", "none") and not re.fullmatch(r"\d+(\.\d+){3}", address):
        raise ValueError(text)
    if colon:
        _port(port)
    return text


def _path(text: str) -> Path:
    try:
        return Path(_non_empty(text)).expanduser()
    except RuntimeError as error:  # nobody is called so
        raise ValueError(text) from error


def _path_if_any(text: str) -> Path | None:
    return _path(text) if text else None


def _flag(text: str) -> bool:
    return FLAGS[text.lower()]


def _options(text: str) -> str:
    shlex.split(text)
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def _url(text: str) -> str:
    if text and not re.match(r"https?://[^@/?#\\]*(?:[/?#]|$)", text):  # no user, nor a password
        raise ValueError(text)
    return text


TEXT = ValueKind("text", str)
OPTIONS = ValueKind("words as in a shell, with quotes in pairs", _options)
WORD = ValueKind("a text that is not empty", _non_empty)
PATH = ValueKind("a path", _path)
PATH_IF_ANY = ValueKind("a path, or nothing", _path_if_any)
FLAG = ValueKind("yes or no", _flag)
COUNT = ValueKind("a whole number from 1 on", _at_least(1, int))
SECONDS = ValueKind("a number of seconds from 0 on", _at_least(0, float))
DAYS = ValueKind("a number of days from 0 on", _at_least(0, float))
PORT = ValueKind(f"a port from 1 to {HIGHEST_PORT}", _port)
GROUPS = ValueKind("a multicast address with one *, such as 234.5.6.*", _with_star)
URL = ValueKind("an address that begins with https:// or http://, with no user in it", _url)
NAMES = ValueKind("names, with commas between them", _names)
TFTP = ValueKind("an IPv4 address, perhaps with a colon and a port; none; or nothing", _tftp)
SECRET = ValueKind(EXPECTED_SECRET, read_secret)
DISK = ValueKind(EXPECTED, read_drive)
PARTITION = ValueKind(PARTITION_EXPECTED, read_partition)
PORTS = ValueKind("a number, a plus sign and a star, such as 10000 + *", _port_pattern)
