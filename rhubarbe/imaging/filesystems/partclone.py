"""The used ranges of what this room cannot read itself, by asking the installed partclone.

Its domain log is a text: after comments and a line of its own position, one line a range, with
position and size in bytes, and `+` where it is used.
"""

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.imaging.errors import FilesystemError
from rhubarbe.imaging.filesystems.usage import Range, ReadAt, Usage, merge
from rhubarbe.ndz.header import SECTOR

_RANGE = re.compile(r"^0x([0-9A-Fa-f]+)\s+0x([0-9A-Fa-f]+)\s+(\S)$", re.MULTILINE)
_EMPTY_WORDS = re.compile("Partclone fail|Error exit")
_ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_BTRFS_LOG_ROOT = 65536 + 0x60
_NTFS_SECTORS = 0x28
_EXFAT_FLAGS, _EXFAT_UNSOUND = 106, 0x6
_F2FS_SUPERBLOCK, _F2FS_BLOCK, _F2FS_UNMOUNTED = 1024, 4096, 0x1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition is: `size` bytes from `offset` of a file or device; `is_all` of it."""

    path: str
    offset: int
    size: int
    is_all: bool


def find_usage(kind: str, read_at: ReadAt, place: Place) -> Usage:
    """Return the used ranges of a filesystem of that kind; raise FilesystemError saying why not."""
    program = _find(f"partclone.{kind}")
    if reason := _distrust(kind, read_at):
        raise FilesystemError(reason)
    with _device(place) as device, tempfile.TemporaryDirectory() as directory:
        if kind == "xfs":
            _check_xfs_log(device)
        domain = Path(directory) / "domain"
        log = Path(directory) / "log"
        _run([program, "-D", "-s", device, "-o", str(domain), "-L", str(log)])
        used = merge([*_parse(domain.read_text()), *_beyond(kind, read_at)])
    sectors = place.size // SECTOR
    if not used or used[-1][1] > sectors:
        raise FilesystemError(f"partclone.{kind} gave no sensible answer")
    return Usage(kind, tuple(used), sectors)


def _distrust(kind: str, read_at: ReadAt) -> str:
    """Return why the used map may lack what is used; '' where partclone itself asks (ntfs)."""
    if kind == "btrfs" and any(read_at(_BTRFS_LOG_ROOT, 8)):
        return "its btrfs log is yet to be replayed"
    if kind == "exfat" and int.from_bytes(read_at(_EXFAT_FLAGS, 2), "little") & _EXFAT_UNSOUND:
        return "its exfat filesystem was not unmounted, or has errors"
    if kind == "f2fs" and not _is_f2fs_unmounted(read_at):
        return "its f2fs filesystem was not unmounted"
    return ""


def _is_f2fs_unmounted(read_at: ReadAt) -> bool:
    """Whether the newest of the two checkpoints is whole, and was made by an unmount.

    What was written after any other one is found by rolling forward, not by its used map.
    Source: the Linux kernel's include/linux/f2fs_fs.h.
    """
    superblock = read_at(_F2FS_SUPERBLOCK, 96).ljust(96, b"\0")
    (log_segment,) = struct.unpack_from("<I", superblock, 20)
    (first,) = struct.unpack_from("<I", superblock, 76)
    packs = []
    for block in (first, first + (1 << min(log_segment, 16))):
        head = read_at(block * _F2FS_BLOCK, 140).ljust(140, b"\0")
        flags, blocks = struct.unpack_from("<II", head, 132)
        tail = read_at((block + max(blocks, 1) - 1) * _F2FS_BLOCK, 8)
        packs.append((int.from_bytes(head[:8], "little"), head[:8] == tail, flags))
    newest = max(version for version, _, _ in packs)
    return all(
        is_whole and flags & _F2FS_UNMOUNTED
        for version, is_whole, flags in packs
        if version == newest
    )


def _beyond(kind: str, read_at: ReadAt) -> list[Range]:
    """Return what partclone leaves out: the second boot sector of ntfs, after its clusters."""
    if kind != "ntfs":
        return []
    end = int.from_bytes(read_at(_NTFS_SECTORS, 8), "little")
    return [(end, end + 1)]


def _parse(text: str) -> Iterator[Range]:
    found = _RANGE.findall(text)
    if not found:
        raise FilesystemError("partclone's domain log is not understood")
    for position, size, status in found:
        if status == "+":
            start = int(position, 16)
            yield start // SECTOR, -(-(start + int(size, 16)) // SECTOR)


def _find(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path=_ADMIN_PATH)
    if not found:
        raise FilesystemError(f"{program} is not installed")
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).splitlines()
        said = [line.strip() for line in lines if line.strip() and not _EMPTY_WORDS.match(line)]
        name = Path(command[0]).name
        raise FilesystemError(f"{name} refused it ({(said or ['no reason given'])[-1][-120:]})")
    return done.stdout


def _check_xfs_log(device: str) -> None:
    """Raise FilesystemError unless the log is clean: it may give out blocks that are not yet so."""
    if "<CLEAN>" not in _run([_find("xfs_logprint"), "-t", device]):
        raise FilesystemError("its xfs log is yet to be replayed")


@contextmanager
def _device(place: Place) -> Iterator[str]:
    """Give the partition a path of its own: a loop device, unless it is all of its file."""
    if place.is_all:
        yield place.path
        return
    losetup = _find("losetup")
    window = ["-o", str(place.offset), "--sizelimit", str(place.size)]
    try:
        device = _run([losetup, "-f", "-r", "--show", *window, place.path]).strip()
    except FilesystemError as error:
        raise FilesystemError(f"no loop device for it, which takes root ({error})") from error
    try:
        yield device
    finally:
        _run([losetup, "-d", device])
