"""List who has the testbed, and when: the leases that are not over yet, `*` for those in force."""

import argparse
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rhubarbe.cli.arguments import complain, example, read_settings
from rhubarbe.config import Settings
from rhubarbe.text import sanitise

if TYPE_CHECKING:  # the rest of that room brings asyncio
    from rhubarbe.leases.lease import Lease
    from rhubarbe.leases.user import User

EPILOG = example(
    "rhubarbe-leases --after today --before tomorrow",
    "Exit code: 0, or with --check 0 only if you may use the testbed now; 1 when leases cannot be"
    " had.",
)

BEGINNING = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what leases takes."""
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--all", action="store_true", help="also those that are over")
    when.add_argument(
        "-u",
        "--upcoming",
        action="store_true",
        help="from now on, however far ahead: the default",
    )
    parser.add_argument(
        "-n",
        "--no-admin",
        action="store_true",
        help="without those of root, and of who is privileged",
    )
    parser.add_argument("-a", "--after", metavar="TIME", help="only what ends after this time")
    parser.add_argument("-b", "--before", metavar="TIME", help="only what begins before this time")
    parser.add_argument(
        "-c", "--check", action="store_true", help="only tell whether you may use the testbed now"
    )
    parser.add_argument(
        "-i", "--interactive", action="store_true", help="refused: rhubarbe-book changes leases"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, for programs")
    parser.set_defaults(refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Print one line a lease; or tell whether the user has one."""
    if arguments.interactive:
        arguments.refuse("argument -i: rhubarbe-book changes leases")
    settings = read_settings()
    if settings.leases.backend == "none":
        print("[]" if arguments.json else "no lease is needed here: backend = none in [leases]")
        return 0

    import asyncio

    from rhubarbe.leases.desk import open_desk
    from rhubarbe.leases.user import current_user

    user, now = current_user(), time.time()
    after, before = _period(arguments, now)
    leases = asyncio.run(open_desk(settings, user, tell=complain).leases(after, before))
    if arguments.check:
        return _check(leases, user, now, settings)
    if arguments.no_admin:
        admins = {"root", *settings.accounts.privileged}
        leases = [lease for lease in leases if lease.owner not in admins]
    print(_document(leases, user, now) if arguments.json else "\n".join(_table(leases, user, now)))
    return 0


def _period(arguments: argparse.Namespace, now: float) -> tuple[float, float]:
    from rhubarbe.leases.lease import LATEST
    from rhubarbe.leases.times import read_time

    after = BEGINNING if arguments.all else now
    if arguments.after:
        after = read_time(arguments.after, now)
    return after, read_time(arguments.before, now) if arguments.before else LATEST


def _check(leases: "Sequence[Lease]", user: "User", now: float, settings: Settings) -> int:
    from rhubarbe.leases.lease import end_of_use, holders
    from rhubarbe.leases.times import moment

    if user.needs_no_lease(settings):
        print(sanitise(f"{user.name} needs no lease"))
        return 0
    end = end_of_use(leases, user.name, now)
    if end is None:
        print(sanitise(f"{user.name} has no lease now ({holders(leases, now)})"))
        return 1
    print(f"{sanitise(user.name)} has the testbed until {moment(end)}")
    return 0


def _document(leases: "Sequence[Lease]", user: "User", now: float) -> str:

    from rhubarbe.leases.times import iso

    return json.dumps(
        [
            {
                "id": lease.name,
                "owner": lease.owner,
                "from": iso(lease.begins),
                "until": iso(lease.ends),
                "yours": lease.owner == user.name,
                "now": lease.holds(now),
            }
            for lease in leases
        ],
        indent=2,
    )


def _table(leases: "Sequence[Lease]", user: "User", now: float) -> list[str]:
    from rhubarbe.leases.times import duration, moment

    if not leases:
        return ["no leases"]
    rows = [["", "id", "owner", "from", "until", ""]]
    for lease in leases:
        mark = "*" if lease.holds(now) else ""
        length = duration(lease.ends - lease.begins)
        notes = [length, *["yours"] * (lease.owner == user.name)]
        notes += ["overlaps"] * any(
            other is not lease and other.overlaps(lease.begins, lease.ends) for other in leases
        )
        times = [moment(lease.begins), moment(lease.ends)]
        rows.append([mark, sanitise(lease.name), sanitise(lease.owner), *times, ", ".join(notes)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
