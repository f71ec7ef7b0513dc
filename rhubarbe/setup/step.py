"""One step of a setup: it can be shown, tells whether it is done, is done, and is undone.

What it makes is noted as it was made. So what somebody has changed since is told, and left alone,
by the next run as by `--undo`, which goes by the notes alone.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rhubarbe.setup.machine import Machine
from rhubarbe.setup.record import Record

GAP = "  "
"""In the words of a step, between what it is called and what it is for."""


class Verdict(StrEnum):
    """What is to be done about a step."""

    MAKE = "make"
    CHANGE = "change"
    DONE = "ok"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a step; the words say why it is changed, or left alone."""

    verdict: Verdict
    words: str = ""

    @property
    def is_due(self) -> bool:
        """Whether there is something to do."""
        return self.verdict in (Verdict.MAKE, Verdict.CHANGE)


MAKE = Look(Verdict.MAKE)
DONE = Look(Verdict.DONE)


class Step(Protocol):
    """One thing that a gateway needs."""

    words: str
    """What it is, in one line: what it is called, a GAP, what it is for."""

    @property
    def content(self) -> Sequence[str]:
        """The lines that it writes, if people should see them beforehand."""
        return ()

    @abstractmethod
    def look(self, machine: Machine, record: Record) -> Look:
        """Tell what is to be done; changes nothing. Raises GatewayError, or OSError."""

    @abstractmethod
    def do(self, machine: Machine, record: Record) -> None:
        """Do it, noted beforehand; raises GatewayError, or OSError."""


class CannotUndo(Exception):
    """Something is left as it is; the words say why."""


class Gone(Exception):
    """There is nothing left to undo."""
