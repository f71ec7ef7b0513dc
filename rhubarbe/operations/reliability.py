"""How reliable each node was in the past, and how fast. Pure: runs in, numbers out."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from rhubarbe.gateway.state.history import NodeRun

# The reason of runs that somebody interrupted, which tell nothing about the nodes.
NOBODYS_FAULT = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """One node: how many runs, failures and second rounds; the median seconds of each phase."""

    node: str
    runs: int
    failures: int
    second_rounds: int
    phases: dict[str, float]
    last_failure: NodeRun | None

    @property
    def failure_rate(self) -> float:
        """The share of runs that failed, 0.0 to 1.0."""
        return self.failures / self.runs


def rank(runs: Iterable[NodeRun]) -> list[Reliability]:
    """Judge each node by its runs, in the order of time; the worst first, then the slowest."""
    by_node: dict[str, list[NodeRun]] = {}
    for run in runs:
        if run.reason != NOBODYS_FAULT and not run.blameless:
            by_node.setdefault(run.node, []).append(run)
    judged = [_judge(node, its_runs) for node, its_runs in by_node.items()]
    return sorted(judged, key=lambda one: (-one.failure_rate, -sum(one.phases.values()), one.node))


def _judge(node: str, runs: list[NodeRun]) -> Reliability:
    failed = [run for run in runs if not run.ok]
    spent: dict[str, list[float]] = {}
    for run in runs:
        for phase, seconds in run.phases.items():
            # The phase that failed was cut short, or took its whole limit.
            if run.ok or phase != run.phase:
                spent.setdefault(phase, []).append(seconds)
    return Reliability(
        node=node,
        runs=len(runs),
        failures=len(failed),
        second_rounds=sum(run.attempts > 1 for run in runs),
        phases={phase: median(seconds) for phase, seconds in spent.items()},
        last_failure=failed[-1] if failed else None,
    )
