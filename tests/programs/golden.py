"""What a user sees, as text: commands with their output, compared with what was once looked at.

`REWRITE=1 pytest ...` writes the texts anew, for somebody to look at.
"""

import os
import re
import shlex
from pathlib import Path

DIRECTORY = Path(__file__).parents[1] / "golden"


def transcript(testbed, *commands, **environ):
    """Run command lines one after the other in a testbed; return what a terminal would show.

    Standard error comes after the output, each line marked; so does an exit code other than 0.
    """
    shown = []
    for command in commands:
        done = testbed.run(*shlex.split(command), **environ)
        shown += [f"$ {command}", *done.stdout.splitlines()]
        shown += [f"stderr: {line}" for line in done.stderr.splitlines()]
        shown += [f"exit code: {done.returncode}"] * bool(done.returncode)
    return _settled("\n".join(shown), testbed) + "\n"


def _settled(text, testbed):
    """Replace what differs from one run to another: places and dates."""
    text = text.replace(str(testbed.directory), "TESTBED")
    return re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?", "DATE", text)


def assert_golden(name, text):
    """Compare with `tests/golden/NAME.txt`."""
    path = DIRECTORY / f"{name}.txt"
    if os.environ.get("REWRITE"):
        path.write_text(text)
    assert text == path.read_text()
