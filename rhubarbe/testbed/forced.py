"""What a host's sshd runs instead of what it was asked to: the command, answered from the disk."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rhubarbe.testbed.disk import DiskFile
from rhubarbe.testbed.system import Boot, EmulatedSystem
from rhubarbe.testbed.way import Way


def main(argv: Sequence[str] | None = None) -> int:
    """Run `DISK BOOT-ID STARTED [SOCKET NODE]`, with the command in SSH_ORIGINAL_COMMAND."""
    disk, boot_id, started, *way = sys.argv[1:] if argv is None else argv
    switch = Way(Path(way[0]), way[1]) if way else None
    return asyncio.run(_answer(Path(disk), Boot(boot_id, float(started)), switch))


async def _answer(disk: Path, boot: Boot, way: Way | None) -> int:
    system = EmulatedSystem(DiskFile(disk, asyncio.Semaphore(1)), _halt, boot, way)
    status, output = await system.run(os.environ.get("SSH_ORIGINAL_COMMAND"))
    stream = sys.stderr if status else sys.stdout
    stream.write(output)
    stream.flush()
    return status


def _halt() -> None:
    """End the first process of this host, sshd itself, once it has passed on our answer."""
    subprocess.Popen(
        ["/bin/sh", "-c", "sleep 0.3; kill 1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
