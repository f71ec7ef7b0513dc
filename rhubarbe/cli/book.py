"""Book the testbed for a time that nobody else has, or give such a lease back.

A lease that runs ends now when it is given back, so that it stays on record; one that is over is
left.
"""

import argparse
import getpass
import time

from rhubarbe.cli.arguments import complain, example, read_settings
from rhubarbe.errors import LeaseError
from rhubarbe.text import sanitise

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
    parser.add_argument(
        "--delete", metavar="ID", help="give a lease back; rhubarbe-leases tells its id"
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
    parser.set_defaults(refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Book or give back, and say what was done."""
    given = [each is not None for each in (arguments.begin, arguments.end, arguments.delete)]
    if given not in ([True, True, False], [False, False, True]):
        arguments.refuse("give FROM and UNTIL, or --delete and the id of a lease")
    settings = read_settings()

    import asyncio

    from rhubarbe.leases.desk import open_desk
    from rhubarbe.leases.user import current_user

    user = current_user()
    password = ""
    if settings.leases.backend == "r2labapi" and arguments.email:
        password = _password(arguments.email)
    desk = open_desk(settings, user, arguments.email, password, complain)
    if arguments.delete is not None:
        print(sanitise(asyncio.run(desk.give_back(arguments.delete))))
        return 0

    from rhubarbe.leases.times import duration, moment, read_period

    begins, ends = read_period(arguments.begin, arguments.end, time.time())
    lease = asyncio.run(desk.book(begins, ends, arguments.slice or user.name))
    period = f"from {moment(lease.begins)} until {moment(lease.ends)}"
    print(
        sanitise(
            f"lease {lease.name}: {lease.owner} has the testbed {period}"
            f" ({duration(lease.ends - lease.begins)})"
        )
    )
    return 0


def _password(email: str) -> str:
    try:
        return getpass.getpass(f"password of {email}: ")
    except EOFError as error:
        raise LeaseError("no password was given: nothing was done") from error
