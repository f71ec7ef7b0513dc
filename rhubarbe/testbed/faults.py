"""What can be made to go wrong on a node, and how many times."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rhubarbe.annexe.errors import Misused

KNOWN = {
    "card-dead": "the power card refuses connections",
    "card-silent": "the power card accepts and never answers",
    "card-lies": "the power card says ok and does nothing",
    "card-500": "the power card answers with an internal error",
    "card-late": "the card shows for two seconds what was before an order",
    "card-refuses": "the card refuses the user and the password, where it asks for them",
    "card-slow": "each answer of the card takes two seconds",
    "card-too-slow": "each answer of the card takes longer than anybody waits, 20 seconds",
    "card-half": "the answer of the card breaks off in the middle",
    "never-leaves": "the card says ok and shows what was asked, yet the node stays up",
    "never-returns": "the node goes off and nothing boots any more",
    "telnet-drops": "the session closes in the middle of the image",
    "slow-boot": "a boot takes many times as long (--slow-boot)",
    "frisbee-fails": "the client ends with status 1 in the middle of the image",
    "other-disk": "the node boots another disk, with a system of older stamp",
    "disk-small": "the disk is smaller than the image",
    "disk-errors": "writing to the disk fails in the middle",
}
# faults that happen inside a program of the ramdisk, where a file says that they are due
OF_PROGRAMS = ("frisbee-fails", "disk-errors")
# faults between who asks and a power control, which not all kinds of those can have
OF_WAYS_TO_CONTROLS = frozenset(
    {
        "card-dead",
        "card-silent",
        "card-slow",
        "card-too-slow",
        "card-half",
        "card-500",
        "card-refuses",
    }
)
OF_CONTROLS = OF_WAYS_TO_CONTROLS | {"card-lies", "card-late"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One `--fault NODE:NAME[*TIMES]`; without TIMES it happens every time."""

    node: str
    name: str
    times: float


def parse(text: str) -> Fault:
    """`fit03:card-lies*1` as a value.

    Raises Misused when the text has another form or the fault is unknown.
    """
    match = re.fullmatch(r"(?P<node>[^:]+):(?P<name>[a-z0-9-]+)(\*(?P<times>[1-9][0-9]*))?", text)
    if match is None:
        raise Misused(f"fault {text!r} is not of the form NODE:NAME or NODE:NAME*TIMES")
    if match["name"] not in KNOWN:
        raise Misused(f"unknown fault {match['name']!r}: one of {', '.join(sorted(KNOWN))}")
    times = float(match["times"]) if match["times"] else math.inf
    return Fault(match["node"], match["name"], times)


class Faults:
    """The faults of one node, counted down as they happen."""

    def __init__(self, left: Mapping[str, float] | None = None) -> None:
        self._left = dict(left or {})

    def always(self, name: str) -> bool:
        """Whether the fault never wears off."""
        return self._left.get(name) == math.inf

    def has(self, name: str) -> bool:
        """Whether the fault is still to come."""
        return self._left.get(name, 0) > 0

    def take(self, name: str) -> bool:
        """Whether the fault happens now; one time less is left."""
        if not self.has(name):
            return False
        self._left[name] -= 1
        return True

    def left(self, name: str) -> str:
        """Say what is left in the words of the node's files: `always` or a number."""
        return "always" if self.always(name) else str(int(self._left.get(name, 0)))


def by_node(faults: Iterable[Fault], nodes: Iterable[str]) -> dict[str, Faults]:
    """Sort the faults by node; raises Misused for a node that the testbed does not have."""
    left: dict[str, dict[str, float]] = {node: {} for node in nodes}
    for fault in faults:
        if fault.node not in left:
            raise Misused(f"fault {fault.name} is for {fault.node}, which is not in this testbed")
        counts = left[fault.node]
        counts[fault.name] = counts.get(fault.name, 0) + fault.times
    return {node: Faults(counts) for node, counts in left.items()}
