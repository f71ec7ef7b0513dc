"""The way from what runs on a node to what switches it: a line there, and a line back."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.testbed.controls import outside


@dataclass(frozen=True, slots=True)
class Way:
    """The way of one node, by a socket of the testbed (controls/bridge.py)."""

    path: Path
    node: str

    async def ask(self, verb: str) -> str:
        """Have it done, and return the answer, which may be a fault; raises OSError."""
        with outside.short(str(self.path)) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        try:
            writer.write(f"{self.node} {verb}\n".encode())
            said = (await reader.readline()).decode().strip()
        finally:
            writer.close()
        if not said:
            raise ConnectionResetError("no answer")
        return said
