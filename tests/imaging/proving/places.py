"""Ranges of a disk as the system's own tools see them: devices that exist for a moment."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
BIN = Path(__file__).parents[3] / "bin"
QUIET = {**os.environ, "LC_ALL": "C.UTF-8", "LVM_SUPPRESS_FD_WARNINGS": "1"}


def run(*command, **options):
    """Run a program that must succeed, and return what it printed."""
    done = try_run(*command, **options)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def try_run(*command, **options):
    words = [str(word) for word in command]
    return subprocess.run(
        words, capture_output=True, check=False, env=QUIET, encoding="utf-8",
        errors="backslashreplace", timeout=120, **options,
    )  # fmt: skip


def ask(device, *command, among=(0,), drop=r"$^"):
    """Return what a tool says of a device: status, then its lines without the device's name.

    A status that is not `among` the expected ones stays in it, and so differs from a healthy one.
    """
    done = try_run(*command)
    text = f"{done.stdout}\n{done.stderr}".replace(str(device), "DEVICE")
    text = text.replace(os.path.basename(device), "DEVICE")  # noqa: PTH119 - a name, no path
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not re.search(drop, line)]
    return "\n".join([f"status {done.returncode}" if done.returncode not in among else "", *kept])


@dataclass(frozen=True)
class Place:
    """A range of a file, in bytes, on a disk with sectors of that size."""

    path: Path
    start: int
    size: int
    sector: int = 512

    @contextlib.contextmanager
    def device(self, *, writable=False):
        """Attach the range to a loop device; for others than root, copy it to a file."""
        if os.getuid():
            yield from self._as_file(writable=writable)
            return
        options = ["-o", self.start, "--sizelimit", self.size, "-b", self.sector]
        mode = [] if writable else ["-r"]
        device = run("losetup", "-f", "--show", *mode, *options, self.path).strip()
        try:
            yield device
        finally:
            flush(device)
            run("losetup", "-d", device)

    def _as_file(self, *, writable):
        with tempfile.TemporaryDirectory(dir=self.path.parent) as directory:
            copy = self._copy(Path(directory) / "device")
            yield str(copy)
            if writable:
                with self.path.open("r+b") as file, copy.open("rb") as changed:
                    file.seek(self.start)
                    shutil.copyfileobj(changed, file, MIB)

    def _copy(self, target):
        with self.path.open("rb") as source, target.open("wb") as file:
            file.truncate(self.size)
            source.seek(self.start)
            for at in range(0, self.size, MIB):
                data = source.read(min(MIB, self.size - at))
                if data.count(0) != len(data):
                    file.seek(at)
                    file.write(data)
        return target


def flush(device):
    """Write what the kernel keeps of a device into the file behind it.

    By itself it does so only once nobody has it open, and whoever scans all devices may.
    """
    descriptor = os.open(device, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def mounted(device, point, *, command=("mount",), options="ro"):
    """Mount a device, and wait until nothing has it any more afterwards."""
    point.mkdir(exist_ok=True)
    run(*command, "-o", options, device, point)
    try:
        yield point
    finally:
        run("umount", point)
        _wait_until_free(device)


def _wait_until_free(device, within=50):
    deadline = time.monotonic() + within
    while True:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        except OSError:
            assert time.monotonic() < deadline, f"{device} is still mounted somewhere"
            time.sleep(0.02)
        else:
            return


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)
    return path


def junk(path, size, byte=b"\xaa"):
    """Make a file full of what no source holds."""
    block = byte * MIB
    with path.open("wb") as file:
        for at in range(0, size, MIB):
            file.write(block[: size - at])
    return path


def data_of(path):
    """Yield what is not a hole of a file: (offset, bytes)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            yield at, file.read(end - at)
            at = end
