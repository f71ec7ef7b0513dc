"""The outside programs that the testbed runs: where they are, and one run of each."""

import asyncio
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rhubarbe.annexe.errors import MissingProgram, ProgramFailed
from rhubarbe.annexe.programs import last_line, locate

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "ip": "iproute2",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "nsenter": "util-linux",
    "busybox": "busybox-static",
    "ipmi_sim": "openipmi",
    "sshd": "openssh-server",
    "qemu-system-x86_64": "qemu-system-x86",
    "dnsmasq": "dnsmasq-base",
}


def find(name: str) -> str:
    """Return the path of a program; raises MissingProgram, which names the Debian package."""
    found = locate(name)
    if found is None:
        raise MissingProgram(f"{name} is not installed: apt-get install {PACKAGES.get(name, name)}")
    return found


def require(names: Sequence[str], *, root: bool, what: str) -> None:
    """Raise MissingProgram, which says in one line all that is needed and not there."""
    missing = []
    for name in names:
        try:
            find(name)
        except MissingProgram:
            missing.append(PACKAGES.get(name, name))
    needs = ["root"] if root and os.geteuid() != 0 else []
    if missing:
        packages = " ".join(dict.fromkeys(missing))
        needs.append(f"packages: apt-get install --no-install-recommends {packages}")
    if needs:
        raise MissingProgram(f"{what} needs {', and '.join(needs)}")


def python_program(module: str, name: str) -> list[str]:
    """Return the arguments that run `main()` of one of our own modules as the program NAME.

    Works in a checkout that is not installed, and never imports from the current directory.
    """
    start = (
        f"import sys; sys.path[0] = {str(CHECKOUT)!r}; sys.argv[0] = {name!r}; "
        f"from {module} import main; sys.exit(main())"
    )
    return [sys.executable, "-c", start]


async def run(
    arguments: Sequence[str],
    *,
    text: str = "",
    limit: float = 60,
    largest_file: int | None = None,
    check: bool = True,
    name: str | None = None,
) -> bytes:
    """One run of a program to its end: `text` is its input, its output is returned.

    `limit` is in seconds, `largest_file` in bytes. The program is killed when we are cancelled.
    Raises ProgramFailed with the last line that it said, when it took too long, or (`check`) when
    its status is not 0; `name` is what it is called then.
    """
    called = name or Path(arguments[0]).name
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        if largest_file is not None:
            with suppress(ProcessLookupError):
                resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (largest_file, largest_file))
        async with asyncio.timeout(limit):
            output, said = await child.communicate(text.encode())
    except TimeoutError:
        raise ProgramFailed(f"{called} did not end within {limit:.0f} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if check and child.returncode:
        raise ProgramFailed(f"{called} ended with {child.returncode}: {last_line(said)}")
    return output
