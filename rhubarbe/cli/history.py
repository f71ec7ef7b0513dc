"""Tell which nodes fail, and how long each phase takes: the least reliable first, then the slowest.

The seconds are medians; runs that were interrupted do not count.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from rhubarbe.cli.arguments import complain, example, positive, read_inventory, read_settings
from rhubarbe.events import Phase
from rhubarbe.gateway.state.history import History
from rhubarbe.operations.reliability import Reliability, rank
from rhubarbe.selector import select
from rhubarbe.text import sanitise

EPILOG = example("rhubarbe-history --days 30 1-12")

DAY = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what history takes."""
    parser.add_argument(
        "-d", "--days", type=positive, metavar="N", help="only the last N days (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, for programs")
    parser.add_argument(
        "nodes", nargs="*", metavar="NODES", help="such as 1-12 '~4' (default: all)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line a node."""
    settings = read_settings()
    runs = History(settings.testbed.state_dir).runs(complain)
    if arguments.nodes:
        names = (settings.testbed.regularname, settings.testbed.rebootname)
        inventory = read_inventory(settings)
        entries = inventory.choose(select(arguments.nodes, names, nodes=inventory.numbers()))
        wanted = {entry.name for entry in entries}
        runs = [each for each in runs if each.node in wanted]
    if arguments.days:
        since = time.time() - arguments.days * DAY
        runs = [each for each in runs if each.started >= since]
    judged = rank(runs)
    print(_document(judged) if arguments.json else "\n".join(_table(judged)))
    return 0


def _document(judged: Sequence[Reliability]) -> str:
    return json.dumps(
        [asdict(one) | {"failure_rate": one.failure_rate} for one in judged], indent=2
    )


def _table(judged: Sequence[Reliability]) -> list[str]:
    if not judged:
        return ["no run is noted"]
    phases = [str(phase) for phase in Phase if any(one.phases.get(phase) for one in judged)]
    rows = [["node", "runs", "failed", "again", *phases, "last failure"]]
    for one in judged:
        seconds = [f"{one.phases[phase]:.1f}" if phase in one.phases else "-" for phase in phases]
        counts = [str(one.runs), f"{one.failure_rate:.0%}", str(one.second_rounds)]
        rows.append([sanitise(one.node), *counts, *seconds, _last_failure(one)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cells(row, widths)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Align numbers to the right, the words on either side of them to the left."""
    last = len(row) - 1
    return [
        cell.ljust(width) if place in (0, last) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _last_failure(one: Reliability) -> str:
    run = one.last_failure
    if run is None:
        return ""
    when = datetime.fromtimestamp(run.started).astimezone()
    return sanitise(f"{when:%Y-%m-%d %H:%M} {run.command}, {run.phase}: {run.reason}", 120)
