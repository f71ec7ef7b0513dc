"""What became of each node, and so of the command."""

from collections.abc import Iterable
from dataclasses import dataclass

from rhubarbe.events import Phase
from rhubarbe.selector import fold


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOutcome:
    """How a command ended on one node; `phase` and `reason` say where and why it failed."""

    node: str
    number: int
    ok: bool
    seconds: float
    phase: Phase | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended on all its nodes."""

    nodes: tuple[NodeOutcome, ...]

    @classmethod
    def of(cls, outcomes: Iterable[NodeOutcome]) -> "Outcome":
        """Gather what became of each node, in the order of nodes."""
        return cls(tuple(sorted(outcomes, key=lambda outcome: outcome.number)))

    @property
    def exit_code(self) -> int:
        """0 when all went well on all the nodes, 1 otherwise."""
        return 0 if all(outcome.ok for outcome in self.nodes) else 1

    @property
    def good(self) -> str:
        """The nodes on which all went well, in selection syntax."""
        return fold(outcome.number for outcome in self.nodes if outcome.ok)

    @property
    def bad(self) -> str:
        """The other nodes, in selection syntax."""
        return fold(outcome.number for outcome in self.nodes if not outcome.ok)
