"""What a program of this machine answers, within bounds; None where it cannot say."""

import asyncio
from collections.abc import Sequence

from rhubarbe.gateway.processes.programs import end_process

MOST_BYTES = 4096


async def answer_of(words: Sequence[str], within_s: float) -> str | None:
    """Return what a program writes, without line ends around it; None where it fails."""
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(within_s):
            said = await child.stdout.read(MOST_BYTES) if child.stdout else b""
            status = await child.wait()
    except TimeoutError:
        return None
    finally:
        await end_process(child)
    return said.decode("utf-8", "replace").strip() if status == 0 else None
