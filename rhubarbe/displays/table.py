"""The closing table: a row a node, with the seconds that it spent in each phase."""

from collections.abc import Iterable, Sequence

from rhubarbe.displays import wording
from rhubarbe.events import Finished, NodeResult, Phase

# Beyond this, the rows are those that failed, that were tried again, and the slowest.
MOST_ROWS = 48
SLOWEST = 5
# As many as terminals usually have; a table that would be wider gets narrower gaps.
MOST_COLUMNS = 80


def table(finished: Finished) -> list[str]:
    """Return the lines of the table; none where one node went well: its own line says it all."""
    results = finished.nodes
    if not results or (len(results) == 1 and finished.exit_code == 0):
        return []
    shown = _chosen(results)
    phases = [phase for phase in Phase if any(result.phases.get(phase) for result in results)]
    lines = _aligned(
        [("node", "result", *phases, "total"), *(_row(each, phases) for each in shown)]
    )
    lines = [lines[0], *_with_reasons(lines[1:], shown)]
    if hidden := len(results) - len(shown):
        lines.append(f"(and {hidden} more nodes, which went well and faster)")
    return lines


def _chosen(results: Sequence[NodeResult]) -> Sequence[NodeResult]:
    if len(results) <= MOST_ROWS:
        return results
    slowest = sorted(results, key=lambda result: -result.seconds)[:SLOWEST]
    return [each for each in results if not each.ok or each.attempts > 1 or each in slowest]


def _row(result: NodeResult, phases: Iterable[Phase]) -> tuple[str, ...]:
    word = "ok" if result.ok else "FAILED"
    if result.attempts > 1:
        word += f" in round {result.attempts}"
    spent = [result.phases.get(phase) for phase in phases]
    seconds = ["-" if each is None else f"{each:.1f}" for each in spent]
    return (wording.sanitise(result.node), word, *seconds, f"{result.seconds:.1f}")


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Align the two columns of words to the left, those of numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= MOST_COLUMNS else " "
    return [
        gap.join(
            cell.ljust(width) if place in {0, 1} else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _with_reasons(lines: Iterable[str], results: Iterable[NodeResult]) -> Iterable[str]:
    """Add a line with phase and reason below each node that failed."""
    for text, result in zip(lines, results, strict=True):
        yield text
        if not result.ok:
            yield "    " + wording.sanitise(f"{result.phase}: {result.reason}")
