"""Programs of this gateway by which controls are reached: one run an answer, within bounds.

What such a program is to keep to itself, it is told in memory that it inherits: neither a file nor
its arguments have that.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence

from rhubarbe.concurrency.program import Ended, Flood, run_program
from rhubarbe.errors import CardError, GatewayError, require_means, why
from rhubarbe.text import sanitise

# Nobody has to say more than a line.
LONGEST_ANSWER = 64 << 10
LONGEST_LINE = 200
# Where administrators have programs that not every user's $PATH names.
MORE_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"


@contextlib.contextmanager
def in_memory(text: str) -> Iterator[int]:
    """Hold a text for a program that inherits the descriptor, and opens `path_of` that."""
    descriptor = os.memfd_create("rhubarbe")
    try:
        os.write(descriptor, text.encode())
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> str:
    """Return by which name a program opens a descriptor that it inherits."""
    return f"/proc/self/fd/{descriptor}"


async def run(
    verb: str,
    words: Sequence[str],
    *,
    package: str = "",
    typed: str = "",
    environ: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Ended:
    """Run a program to its end, for as long as the caller lets it; raises CardError, GatewayError.

    `verb` is what it is to do, for errors. `package` is Debian's that has it. `typed` is what it
    reads; `environ` is added to ours.
    """
    program = shutil.which(words[0]) or shutil.which(words[0], path=MORE_PATHS)
    if program is None:
        help_ = f"; apt-get install {package}" if package else ""
        raise GatewayError(f"{words[0]}: no such program on this gateway{help_}")
    try:
        return await run_program(
            [program, *words[1:]],
            most=LONGEST_ANSWER,
            typed=f"{typed}\n".encode() if typed else b"",
            environ=os.environ | {"LC_ALL": "C.UTF-8"} | dict(environ or {}),
            pass_fds=pass_fds,
        )
    except Flood as error:
        raise CardError(f"answers {verb} by {words[0]}, which {error}") from error
    except OSError as error:
        require_means(error)
        raise GatewayError(f"{words[0]}: cannot be run: {why(error)}") from error


def first_line(said: bytes) -> str:
    """Return the first line that says something, fit to be quoted; empty where none does."""
    lines = said.decode(errors="replace").splitlines()
    return sanitise(next(filter(str.strip, lines), ""), LONGEST_LINE)


def last_line(said: bytes) -> str:
    """Return the last line that says something, as `first_line` does."""
    lines = said.decode(errors="replace").splitlines()
    return sanitise(next(filter(str.strip, reversed(lines)), ""), LONGEST_LINE)
