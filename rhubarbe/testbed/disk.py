"""A machine's disk, read as its firmware and its system would read it."""

import asyncio
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.annexe.errors import ProgramFailed
from rhubarbe.testbed import programs
from rhubarbe.testbed.sample import SECTOR, is_sealed

NEEDED = ("/boot/vmlinuz", "/sbin/init")
LARGEST_FILE = 64 << 20
ACTIVE, LINUX = 0x80, 0x83  # in an entry of the partition table
NAME_FIELD = 5  # of /inode/mode/uid/gid/name/size/, a line of `ls -p`
SUPERBLOCK_MAGIC = (1024 + 56, b"\x53\xef")
FORBIDDEN = frozenset('"\\\n\0')


@dataclass(frozen=True, slots=True)
class DiskFile:
    """The disk in a file; `readers` bounds how many programs read disks at once."""

    path: Path
    readers: asyncio.Semaphore

    def partition_offset(self) -> int | None:
        """Where the active Linux partition starts, in bytes; None when this is no bootable disk.

        Looked at: the boot signature, boot code, the partition table, the magic of the superblock.
        """
        with self.path.open("rb") as file:
            record = file.read(SECTOR)
            if len(record) < SECTOR or record[510:] != b"\x55\xaa" or not any(record[:440]):
                return None
            entries = struct.iter_unpack("<B3xB3xII", record[446:510])
            starts = [
                start for active, kind, start, _ in entries if (active, kind) == (ACTIVE, LINUX)
            ]
            if not starts:
                return None
            where, magic = SUPERBLOCK_MAGIC
            file.seek(starts[0] * SECTOR + where)
            return starts[0] * SECTOR if file.read(len(magic)) == magic else None

    async def boots(self) -> bool:
        """Whether there is a system whose needed files are all there and whole."""
        offset = self.partition_offset()
        if offset is None:
            return False
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".boot-") as name:
            copies = {path: Path(name) / str(number) for number, path in enumerate(NEEDED)}
            script = "".join(f'dump {path} "{copy}"\n' for path, copy in copies.items())
            await self._debugfs(offset, "-f", "-", text=script)
            return all(copy.exists() and is_sealed(copy.read_bytes()) for copy in copies.values())

    async def read(self, path: str) -> bytes | None:
        """Return the content of a file of the system, None when there is no such file."""
        return await self._ask("cat", path)

    async def names(self, path: str) -> list[str] | None:
        """List a directory of the system, None when there is no such directory."""
        listing = await self._ask("ls -p", path)
        if listing is None:
            return None
        lines = (line.split("/") for line in listing.decode(errors="replace").splitlines())
        return sorted(
            parts[NAME_FIELD]
            for parts in lines
            if len(parts) > NAME_FIELD and not parts[NAME_FIELD].startswith(".")
        )

    async def _ask(self, request: str, path: str) -> bytes | None:
        offset = self.partition_offset()
        if offset is None or FORBIDDEN & set(path):
            return None
        exists = await self._debugfs(offset, "-R", f'stat "{path}"')
        return await self._debugfs(offset, "-R", f'{request} "{path}"') if exists else None

    async def _debugfs(self, offset: int, *arguments: str, text: str = "") -> bytes:
        async with self.readers:
            try:
                return await programs.run(
                    [programs.find("debugfs"), *arguments, f"{self.path}?offset={offset}"],
                    text=text,
                    limit=10,
                    largest_file=LARGEST_FILE,
                    check=False,
                )
            except ProgramFailed:  # what is on the disk made it hang: nothing can be read there
                return b""
