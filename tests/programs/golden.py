"""What a user sees, as text: commands with their output, compared with what was once looked at.

`REWRITE=1 pytest ...` writes the texts anew, for somebody to look at.
"""

import datetime
import os
import re
import shlex
from pathlib import Path

from rhubarbe.shared.trust import user_name

DIRECTORY = Path(__file__).parents[1] / "golden"
DATE = r"(\d{4}-\d\d-\d\d)[ T]\d\d:\d\d(?::\d\d)?"
# What the commands that take their time write: when it is, and how long things took.
TIMES = (
    (r"\d\d:\d\d:\d\d - \+\d\d+s:", "TIME:"),
    (r"(done|went well.*|FAILED on .*|FAILED) in [\d.]+ s$", r"\1 in N s"),
    (r" +\d+\.\d(?= |$)", "  N.N"),
    (r"^(node) +(.*)$", lambda found: " ".join(found[0].split())),
    (r"SSH-2\.0-\S+", "SSH-2.0"),
)


def transcript(place, *commands, **environ):
    """Run command lines one after the other in a place; return what a terminal would show.

    Standard error comes after the output, each line marked; so does an exit code other than 0.
    """
    shown = []
    for command in commands:
        done = place.run(*shlex.split(command), **environ)
        shown += [f"$ {command}", *done.stdout.splitlines()]
        shown += [f"stderr: {line}" for line in done.stderr.splitlines()]
        shown += [f"exit code: {done.returncode}"] * bool(done.returncode)
    return settled("\n".join(shown), place) + "\n"


def settled(text, place):
    """Replace what differs from one run to another: places, users, and dates of these days."""
    text = text.replace(str(place.directory), "TESTBED")
    text = re.sub(rf"\bby {re.escape(user_name())}(?![\w-])", "by USER", text)
    return re.sub(DATE, lambda found: "DATE" if _is_near(found[1]) else found[0], text)


def without_times(text):
    """Replace also how long things took, in what a command tells while it runs."""
    for pattern, instead in TIMES:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


def _is_near(day):
    return abs(datetime.date.fromisoformat(day) - datetime.date.today()).days < 3


def assert_golden(name, text):
    """Compare with `tests/golden/NAME.txt`."""
    path = DIRECTORY / f"{name}.txt"
    if os.environ.get("REWRITE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
