"""Finding the programs that run on the gateway, and ending the ones that we started."""

import asyncio
import contextlib
import shutil
import sys
from pathlib import Path

from rhubarbe.errors import GatewayError

GRACE_S = 2.0


def find_program(name: str, setting: str = "server in [frisbee]") -> str:
    """Return the path of a program, looked for in $PATH and beside the running command.

    Raises GatewayError, which says which `setting` names it.
    """
    beside = [str(Path(sys.argv[0]).absolute().parent), str(Path(sys.executable).parent)]
    found = shutil.which(name) or shutil.which(name, path=":".join(beside))
    if found is None:
        raise GatewayError(f"{name}: no such program on this gateway; see {setting}")
    return found


async def end_process(process: asyncio.subprocess.Process) -> None:
    """End a child: ask, then force; returns when it is reaped."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(GRACE_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
