"""The archive that a kernel unpacks as its first file system: cpio, "newc".

Source of the format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

import gzip
import stat
from typing import IO

from rhubarbe.ramdisk_builder.tree import FileEntry, Tree

MAGIC = b"070701"
END = "TRAILER!!!"
LEVEL = 6  # 9 saves 0.7 % and takes four times as long


def write_packed(tree: Tree, output: IO[bytes]) -> None:
    """Write a tree as the kernel unpacks it, compressed the same way each time; raises OSError."""
    with gzip.GzipFile("", "wb", LEVEL, fileobj=output, mtime=0) as packed:
        write(tree, packed)


def write(tree: Tree, output: IO[bytes] | gzip.GzipFile) -> None:
    """Write all files of a tree, with the times of 1970; sorted, so the same each time.

    Raises OSError.
    """
    _write_member(output, 1, ".", FileEntry(stat.S_IFDIR | 0o755))
    for number, (path, entry) in enumerate(tree, start=2):
        _write_member(output, number, path, entry)
    _write_member(output, 0, END, FileEntry(0))


def _write_member(
    output: IO[bytes] | gzip.GzipFile, number: int, path: str, entry: FileEntry
) -> None:
    content = entry.read()
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    major, minor = entry.device
    # inode, mode, uid, gid, links, mtime, size, device of the file, device it is, name, checksum
    numbers = [
        number,
        entry.mode,
        *entry.owner,
        links,
        0,
        len(content),
        0,
        0,
        major,
        minor,
        len(name),
        0,
    ]
    header = MAGIC + b"".join(b"%08X" % value for value in numbers)
    output.write(_padded(header + name))
    output.write(_padded(content))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
