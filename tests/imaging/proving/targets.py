"""Targets: how large each is, what is to happen there, and the programs that write to them."""

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proving.places import BIN, MIB, QUIET, Place, try_run
from proving.tables import Disk

RIGHT, REFUSED = "right", "refused"
GREETING = ("Maximum socket buffer", "Using Multicast", "Bound to", "Joined the team")
"""What a client says of the network, before it knows the image."""


@dataclass(frozen=True)
class Target:
    """A target: its size from the source's, and what is to happen there, or one of what."""

    size: Callable[[Disk], int]
    expected: Callable[[Disk], set[str]]
    is_other_sector: bool = False


def _right(_disk):
    return {RIGHT}


def _refused(_disk):
    return {REFUSED}


def _right_without_table(disk):
    """Return what may become of an image on a disk of the other size of sector."""
    return {RIGHT, REFUSED} if disk.label == "none" else {REFUSED}


def _right_without_marks(disk):
    """Return what may become of a larger disk, whose end a bare filesystem does not reach.

    Where a mark is there that would be found instead, it is refused, and nothing is cleared.
    """
    return {RIGHT, REFUSED} if disk.label == "none" else {RIGHT}


def _right_without_backup(disk):
    return {REFUSED} if disk.label == "gpt" else {RIGHT}


TARGETS = {
    "same": Target(lambda disk: disk.size, _right),
    "larger": Target(lambda disk: disk.size + 66 * MIB + 5 * disk.sector, _right_without_marks),
    "smaller": Target(lambda disk: disk.end + disk.backup, _right),
    "no backup": Target(
        lambda disk: disk.end + max(disk.backup - disk.sector, 0), _right_without_backup
    ),
    "cut": Target(lambda disk: disk.end - disk.sector, _refused),
    "half": Target(lambda disk: disk.size // 2 // MIB * MIB, _refused),
    "other sector": Target(
        lambda disk: disk.size // MIB * MIB + MIB, _right_without_table, is_other_sector=True
    ),
}  # fmt: skip


def program(name, *arguments):
    return try_run(*_line(name), *arguments)


def _line(name):
    return [sys.executable, str(BIN / f"rhubarbe-{name}")]


def unzip(image, path, *options):
    """Restore by imageunzip; a regular file is taken for a disk."""
    return program("imageunzip", *_as_device(path), "--verify", *options, image, path)


def fetch(image, path, *options):
    """Restore by a server and a client, both on loopback."""
    with _serving(image) as (server, group, port):
        session = ["-S", server, "-i", server, "-m", group, "-p", port, "-q"]
        done = program("frisbee", *session, *_as_device(path), "--verify", *options, path)
    said = [line for line in done.stderr.splitlines() if not line.startswith(GREETING)]
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout, "\n".join(said))


def _as_device(path):
    return () if Path(path).is_block_device() else ("--as-device",)


@contextlib.contextmanager
def _serving(image):
    chance = random.Random()
    server = f"127.{chance.randrange(1, 250)}.{chance.randrange(1, 250)}.1"
    group = f"239.{chance.randrange(1, 250)}.{chance.randrange(250)}.{chance.randrange(250)}"
    ready = image.with_name("ready")
    ready.unlink(missing_ok=True)
    line = [*_line("frisbeed"), "-i", server, "-m", group, "-p", "0", "-A", str(ready), str(image)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, env=QUIET) as process:
        try:
            deadline = time.monotonic() + 30
            while not (ready.exists() and "\0" in ready.read_text()):
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline, "the server is not ready"
                time.sleep(0.02)
            address, _, port = ready.read_text().partition("\0")[0].strip().rpartition(":")
            yield server, address, port
        finally:
            process.terminate()
            process.communicate(timeout=20)


@contextlib.contextmanager
def opened(path, target, disk, *, by_device):
    """Give the target as what the programs are to write to: a file, or a device."""
    sector = (4096 + 512) - disk.sector if target.is_other_sector else disk.sector
    if not by_device and not target.is_other_sector:
        yield path
    else:
        with Place(path, 0, path.stat().st_size, sector).device(writable=True) as device:
            yield device
