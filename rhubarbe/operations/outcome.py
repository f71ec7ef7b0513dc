"""What became of each node, and so of the command; the bus carries it as `Finished`."""

from collections.abc import Iterable
from dataclasses import dataclass

from rhubarbe.events import Finished, NodeResult
from rhubarbe.selector import fold


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended on all its nodes, and whether with all else that it had to do."""

    nodes: tuple[NodeResult, ...]
    rest_is_well: bool = True

    @classmethod
    def of(cls, results: Iterable[NodeResult], *, rest_is_well: bool = True) -> "Outcome":
        """Gather what became of each node, in the order of nodes."""
        return cls(tuple(sorted(results, key=lambda result: result.number)), rest_is_well)

    @property
    def exit_code(self) -> int:
        """0 when all went well on all the nodes, and else; 1 otherwise."""
        return 0 if self.rest_is_well and all(result.ok for result in self.nodes) else 1

    @property
    def good(self) -> str:
        """The nodes on which all went well, in selection syntax."""
        return fold(result.number for result in self.nodes if result.ok)

    @property
    def bad(self) -> str:
        """The other nodes, in selection syntax."""
        return fold(result.number for result in self.nodes if not result.ok)

    def finished(self, command: str, seconds: float) -> Finished:
        """Return the last event of a command that ends like this."""
        return Finished(
            command=command,
            good=self.good,
            bad=self.bad,
            exit_code=self.exit_code,
            seconds=seconds,
            nodes=self.nodes,
        )
