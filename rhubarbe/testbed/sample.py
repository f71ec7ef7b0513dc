"""The systems on the emulated disks: small real ones, made with mke2fs from a directory of files.

A disk is a boot record with one active Linux partition from sector 2048 on: boot code in bytes
0-439, four table entries of 16 bytes from 446 on, 55 AA at 510 (the classic PC layout).
"""

import asyncio
import errno
import hashlib
import os
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from rhubarbe.testbed import programs

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

MIB = 1 << 20
SECTOR = 512
PARTITION_SECTOR = 2048
BOOT_CODE = bytes.fromhex("fa31c08ed8") + b"an emulated machine starts from the active partition\0"
SEAL = 32  # bytes
CHS_UNUSED = b"\xfe\xff\xff"


@dataclass(frozen=True, slots=True)
class SampleRecipe:
    """What a system is made of; sizes in bytes.

    `payload` bytes do not compress; half as many more are text, and an eighth is written and
    deleted again, so that free blocks hold what an image should leave out.
    """

    name: str
    stamp: str
    disk: int
    partition: int
    kernel: int
    payload: int
    features: tuple[str, ...] = ()


def sample(payload_mib: int) -> SampleRecipe:
    """Describe the system of the sample image: Debian's default ext4, with room to spare."""
    disk = max(96, 2 * payload_mib + 32) * MIB
    stamp = "an emulated node - image sample - by rhubarbe-testbed"
    return SampleRecipe(
        "sample", stamp, disk, disk - PARTITION_SECTOR * SECTOR, MIB, payload_mib * MIB
    )


def old(disk: int) -> SampleRecipe:
    """Describe what is on a node's disk before anything is loaded: as little as boots."""
    stamp = "an emulated node - image old - by rhubarbe-testbed"
    few = ("-O", "^has_journal,^resize_inode", "-N", "64")
    return SampleRecipe("old", stamp, disk, 4 * MIB, 64 << 10, 64 << 10, few)


def sealed(content: bytes) -> bytes:
    """Add its SHA-256 to the content, which tells a half-written file from a whole one."""
    return content + hashlib.sha256(content).digest()


def is_sealed(content: bytes) -> bool:
    """Whether the content ends with the SHA-256 of the rest."""
    return len(content) > SEAL and sealed(content[:-SEAL]) == content


def boot_record(partition: int) -> bytes:
    """Make the first sector of a disk with one active Linux partition of so many bytes."""
    entry = struct.pack(
        "<B3sB3sII", 0x80, CHS_UNUSED, 0x83, CHS_UNUSED, PARTITION_SECTOR, partition // SECTOR
    )
    return BOOT_CODE.ljust(446, b"\0") + entry.ljust(64, b"\0") + b"\x55\xaa"


def _text(size: int, seed: int) -> bytes:
    words = random.Random(seed)  # noqa: S311 - filler, not a secret
    lines = [
        f"{words.getrandbits(40):x} node image chunk block region extent\n" for _ in range(999)
    ]
    page = "".join(lines).encode()
    return (page * (size // len(page) + 1))[:size]


def _write(root: Path, path: str, content: bytes) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def fill(root: Path, recipe: SampleRecipe, authorized_keys: str) -> list[str]:
    """Write the files of a system below `root`; returns the paths to be deleted again."""
    _write(root, "boot/vmlinuz", sealed(os.urandom(recipe.kernel)))
    _write(root, "sbin/init", sealed(_text(recipe.kernel // 4, 1)))
    _write(root, "etc/hostname", f"{recipe.name}\n".encode())
    release = f'NAME="Rhubarbe {recipe.name}"\nID=rhubarbe\nVERSION_ID=1\n'
    _write(root, "etc/os-release", release.encode())
    _write(root, "etc/rhubarbe-image", f"{recipe.stamp}\n".encode())
    _write(root, "root/.ssh/authorized_keys", authorized_keys.encode())
    pieces = max(1, recipe.payload // (4 * MIB))
    for piece in range(pieces):
        _write(root, f"usr/lib/part{piece}.bin", os.urandom(recipe.payload // pieces))
    _write(root, "usr/share/words", _text(recipe.payload // 2, 2))
    deleted = [f"var/tmp/deleted{number}" for number in range(4)]
    for path in deleted:
        _write(root, path, os.urandom(recipe.payload // 32))
    return deleted


async def to_the_end(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Do blocking work in a thread; when cancelled, wait for it: it works on files of ours."""
    running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def build(recipe: SampleRecipe, disk: Path, workroom: Path, authorized_keys: str) -> None:
    """Make the disk of a system as a sparse file; `workroom` is an empty directory to work in.

    Raises MissingProgram or ProgramFailed.
    """
    mke2fs, debugfs = programs.find("mke2fs"), programs.find("debugfs")
    deleted = await to_the_end(fill, workroom, recipe, authorized_keys)
    with disk.open("wb") as file:
        file.truncate(recipe.disk)
        file.write(boot_record(recipe.partition))
    offset = PARTITION_SECTOR * SECTOR
    extended = f"offset={offset},root_owner=0:0,lazy_itable_init=1,nodiscard"
    size = f"{recipe.partition >> 10}k"
    layout = ["-t", "ext4", *recipe.features, "-E", extended]
    source = ["-d", str(workroom)]
    await programs.run([mke2fs, "-q", "-F", *layout, *source, str(disk), size])
    await programs.run(
        [debugfs, "-w", "-f", "-", f"{disk}?offset={offset}"],
        text="".join(f"rm /{path}\n" for path in deleted),
    )


def copy_sparsely(source: Path, target: Path) -> None:
    """Copy a file with its holes; blocking: call it in a thread."""
    with source.open("rb") as old_file, target.open("wb") as new_file:
        reading, writing = old_file.fileno(), new_file.fileno()
        size = os.fstat(reading).st_size
        os.truncate(writing, size)
        end = 0
        while (start := _next_data(reading, end, size)) < size:
            end = os.lseek(reading, start, os.SEEK_HOLE)
            while start < end:
                start += os.copy_file_range(reading, writing, end - start, start, start)


def _next_data(file: int, start: int, size: int) -> int:
    try:
        return os.lseek(file, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            return size
        raise
