"""Book the testbed for a time that nobody else has, or give such a lease back.

A lease that runs ends now when it is given back, so that it stays on record; one that is over is
left.
"""

import argparse
import getpass
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rhubarbe.cli.arguments import complain, example, read_settings
from rhubarbe.errors import LeaseError
from rhubarbe.text import sanitise

if TYPE_CHECKING:  # that room brings asyncio
    from rhubarbe.leases.desk import Desk
    from rhubarbe.leases.lease import Lease

DAY_S = 86400.0
EPILOG = example(
    "rhubarbe-book 14:00 +2h",
    """\
A time is now, 14:30 (today's; for UNTIL the first after FROM), 2026-10-25T14:30, the same with an
offset (+01:00 or Z), today or tomorrow (their midnight), or +2h30m (after now; for UNTIL after
FROM), in the zone of this machine unless it has an offset. A time that the clocks skip or show
twice is refused.""",
    "Exit code: 0 when it was done, 1 when not, 2 for a wrong command line.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what book takes."""
    parser.add_argument("begin", nargs="?", metavar="FROM", help="when it begins; see below")
    parser.add_argument("end", nargs="?", metavar="UNTIL", help="when it ends")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--delete", metavar="ID", help="give a lease back; rhubarbe-leases tells its id"
    )
    what.add_argument(
        "-d",
        "--give-back",
        action="store_true",
        help="give back yours that is exactly from FROM until UNTIL; or, with one word, of that id",
    )
    what.add_argument(
        "-q",
        "--query",
        action="store_true",
        help="only tell whether that time is free: exit code 0 if it is",
    )
    parser.add_argument(
        "-s",
        "--slice",
        metavar="NAME",
        help="whose it is: the slice at a reservation service, or (root only) another user"
        " (default: you)",
    )
    parser.add_argument(
        "-e",
        "--email",
        default="",
        help="log in at the reservation service; the password is asked for",
    )
    parser.add_argument(
        "-p",
        "--password",
        help="that password; all users of this machine can read it meanwhile",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="tell also who has the testbed around it"
    )
    parser.set_defaults(refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Book, give back or ask, and say what was done."""
    _require_words(arguments)
    settings = read_settings()

    import asyncio

    from rhubarbe.leases.desk import open_desk
    from rhubarbe.leases.user import current_user

    user = current_user()
    password = ""
    if settings.leases.backend == "r2labapi" and arguments.email:
        password = arguments.password or _password(arguments.email)
    desk = open_desk(settings, user, arguments.email, password, complain)
    if arguments.delete is not None:
        print(sanitise(asyncio.run(desk.give_back(arguments.delete))))
        return 0

    from rhubarbe.leases.times import read_period

    period = read_period(arguments.begin, arguments.end, time.time())
    return asyncio.run(_at_desk(desk, period, arguments.slice or user.name, arguments))


def _require_words(arguments: argparse.Namespace) -> None:
    """Refuse a command line that says too little, or too much."""
    if arguments.give_back and arguments.end is None:
        arguments.delete, arguments.begin = arguments.begin, None
    given = [each is not None for each in (arguments.begin, arguments.end, arguments.delete)]
    if given not in ([True, True, False], [False, False, True]):
        arguments.refuse("give FROM and UNTIL, or --delete and the id of a lease")
    if arguments.password is not None and not arguments.email:
        arguments.refuse("argument -p: give -e, too: whose password it is")


async def _at_desk(
    desk: "Desk", period: tuple[float, float], owner: str, arguments: argparse.Namespace
) -> int:
    """Book a time, give it back, or ask for it; return the exit code."""
    if arguments.verbose:
        around = await desk.leases(period[0] - DAY_S, period[1] + DAY_S)
        print("\n".join([sanitise(_told(lease)) for lease in around]) or "no other lease")
    if arguments.query:
        return _answer(await desk.leases(*period))
    if arguments.give_back:
        found = [lease for lease in await desk.leases(*period) if lease.owner == owner]
        exact = [lease for lease in found if (lease.begins, lease.ends) == period]
        if not exact:
            there = f"there is {'; '.join(map(_told, found))}" if found else "there is none then"
            raise LeaseError(f"{owner} has no lease of exactly that time: {there}")
        print(sanitise(await desk.give_back(exact[0].name)))
        return 0

    print(sanitise(_told(await desk.book(*period, owner))))
    return 0


def _answer(taken: "Sequence[Lease]") -> int:
    for lease in taken:
        print(sanitise(f"not free: {_told(lease)}"))
    if not taken:
        print("that time is free")
    return int(bool(taken))


def _told(lease: "Lease") -> str:
    from rhubarbe.leases.times import duration, moment

    period = f"from {moment(lease.begins)} until {moment(lease.ends)}"
    length = duration(lease.ends - lease.begins)
    return f"lease {lease.name}: {lease.owner} has the testbed {period} ({length})"


def _password(email: str) -> str:
    try:
        return getpass.getpass(f"password of {email}: ")
    except EOFError as error:
        raise LeaseError("no password was given: nothing was done") from error
