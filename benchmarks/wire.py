#!/usr/bin/env python3
"""The wire, side by side: ours, udpcast, and a TCP copy with nc, on the loopback interface.

For 1 and 4 receivers, network only and with the restore to a tmpfs: wall time, MB of image a
second, CPU seconds of the sender and of one receiver per GB, and how that compares to the original
programs on such a machine, in a run of their own.
Without an image, one of about 600 MB is made. What is not installed is left out. With --manifest N,
instead: what a manifest costs, as ratios of N pairs of transfers to one receiver, with the restore;
the median of them and the middle half, which is wide where the machine had else to do.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 60  # seconds for one transfer
ORIGINAL = {
    "ours, network only": {1: 77},
    "ours, with restore": {1: 61, 4: 18},
}  # MB of image a second, of a run of the C programs on another day: 569 MB of 1,690 MB
GROUP, PORT = "239.77.1.1", 17700
Start = Callable[[list[str], int], subprocess.Popen[bytes]]


def ours(name: str) -> list[str]:
    return [sys.executable, str(ROOT / "bin" / f"rhubarbe-{name}")]


def make_image(path: Path, chunks: int = 570) -> None:
    """Write an image whose content deflates to two fifths, as a system's does."""
    chance = random.Random(1)
    with path.open("wb") as file:
        sector = 0
        for index in range(chunks):
            packer, body, sectors = zlib.compressobj(1), b"", 0
            while len(body) < 980_000:
                body += packer.compress(chance.randbytes(25600) + b"rhubarbe" * 4800)
                sectors += (25600 + 38400) // 512
            body += packer.flush()
            ends = (sector, sector + sectors, 0, sector, sectors)
            header = struct.pack("<IIiiiiIIiII", 0x6969696B, len(body), index, 0, 4096, 1, *ends)
            file.write(header.ljust(4096, b"\0") + body.ljust((1 << 20) - 4096, b"\0"))
            sector += sectors


class Race:
    """One transfer: programs are started, waited for, and their CPU time is taken."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, line: list[str], *, into: str = "", of: str = "") -> subprocess.Popen[bytes]:
        """Start a program that reads the file ``of``."""
        with (
            Path(into or os.devnull).open("wb") as out,
            Path(of or os.devnull).open("rb") as source,
        ):
            started = subprocess.Popen(line, stdin=source, stdout=out, stderr=subprocess.DEVNULL)
        self.running.append(started)
        return started

    def end(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for a program; return its CPU seconds."""
        ended, limit = 0, time.monotonic() + LIMIT
        while not ended:
            if time.monotonic() > limit:
                raise RuntimeError(f"{process.args} did not end in {LIMIT} s")
            time.sleep(0.005)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.running.remove(process)
        if process.returncode not in (0, -15):
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        return usage.ru_utime + usage.ru_stime

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Wait for what a program does first: what else the machine does is not timed."""
        limit = time.monotonic() + LIMIT
        while not is_ready():
            if time.monotonic() > limit:
                raise RuntimeError(f"not ready in {LIMIT} s")
            time.sleep(0.005)

    def clear(self) -> None:
        """End what still runs."""
        for each in self.running:
            each.kill()
            each.wait()

    def report(self, name: str, receivers: int, wall: float, server: float, client: float) -> None:
        """Print one line; CPU seconds are of all senders, and of one receiver."""
        gigabytes = self.size / 1e9
        speed = self.size / 1e6 / wall
        original = ORIGINAL.get(name, {}).get(receivers)
        ratio = f"  {speed / original:5.2f} of the original's {original} MB/s" if original else ""
        print(
            f"{name:28} {receivers:2d} {wall:7.2f} s {speed:7.0f} MB/s "
            f"{server / gigabytes:6.2f} {client / gigabytes:6.2f}{ratio}",
            flush=True,
        )


def frisbee(race: Race, image: Path, receivers: int, where: Path, megabits: int, raw: bool) -> None:  # noqa: FBT001
    session = ["-m", GROUP, "-p", str(PORT)]
    rate = ["-W", str(megabits * 1_000_000)]
    server = race.start(
        [*ours("frisbeed"), "-T", "-1", "-i", "127.77.1.1", *session, *rate, str(image)]
    )
    time.sleep(0.5)
    start = time.monotonic()
    clients = []
    for number in range(receivers):
        disk = "/dev/null" if raw else str(where / f"disk{number}")
        options = ["-q", "-N"] if raw else ["-q"]
        line = [*ours("frisbee"), "-i", f"127.77.1.{number + 2}", *session, *options, disk]
        clients.append(race.start(line))
    used = sum(race.end(each) for each in clients)
    wall = time.monotonic() - start
    name = "ours, network only" if raw else "ours, with restore"
    race.report(name, receivers, wall, race.end(server), used / receivers)


def paired(image: Path, where: Path, megabits: int, pairs: int) -> None:
    """Print the time and the client's CPU seconds with a manifest, each divided by those without.

    They take turns, and the first of a pair is each in turn: what else the machine does meets both.
    """
    line = [*ours("imagedump"), "--manifest", str(where / "manifest"), str(image)]
    digest = subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()[-1]
    proven = ["--manifest", str(where / "manifest"), "--manifest-digest", digest]
    walls, clients = [], []
    for number in range(pairs):
        took: dict[bool, tuple[float, float]] = {}
        for with_manifest in (number % 2 == 0, number % 2 == 1):
            took[with_manifest] = transfer(image, where, megabits, proven if with_manifest else [])
        walls.append(took[True][0] / took[False][0])
        clients.append(took[True][1] / took[False][1])
        print(f"pair {number}: time {walls[-1]:.3f}, client CPU {clients[-1]:.3f}", flush=True)
    print(f"with a manifest, of {pairs} pairs: time {middle(walls)}, client CPU {middle(clients)}")


def middle(ratios: list[float]) -> str:
    """Return the median and the middle half, which tells how much of it is noise."""
    text = f"{statistics.median(ratios):.3f}"
    if len(ratios) > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        text += f" ({low:.3f} to {high:.3f})"
    return text


def transfer(image: Path, where: Path, megabits: int, options: list[str]) -> tuple[float, float]:
    race = Race(image.stat().st_size)
    session = ["-m", GROUP, "-p", str(PORT)]
    rate = ["-T", "-1", "-W", str(megabits * 1_000_000)]
    ready = where / "ready"
    ready.unlink(missing_ok=True)
    told = ["-A", str(ready)]
    try:
        race.start([*ours("frisbeed"), "-i", "127.77.1.1", *session, *rate, *told, str(image)])
        race.wait_until(lambda: ready.exists() and ready.stat().st_size > 0)
        start = time.monotonic()
        disk = str(where / "disk")
        line = [*ours("frisbee"), "-q", "-i", "127.77.1.2", *session, *options, disk]
        used = race.end(race.start(line))
        return time.monotonic() - start, used
    finally:
        race.clear()


def udpcast(race: Race, image: Path, receivers: int) -> None:
    common = ["--interface", "lo", "--portbase", str(PORT + 10)]
    clients = [
        race.start(["udp-receiver", *common, "--nokbd", "--file", "/dev/null"])
        for _ in range(receivers)
    ]
    time.sleep(0.5)
    start = time.monotonic()
    line = ["udp-sender", *common, "--nokbd", "--min-receivers", str(receivers)]
    server = race.end(race.start([*line, "--file", str(image)]))
    used = sum(race.end(each) for each in clients)
    race.report(
        "udpcast, network only", receivers, time.monotonic() - start, server, used / receivers
    )


def tcp(race: Race, image: Path, receivers: int) -> None:
    listen = [["nc", "-l", "127.77.1.1", str(PORT + 20 + number)] for number in range(receivers)]
    clients = [race.start(line) for line in listen]
    time.sleep(0.5)
    start = time.monotonic()
    senders = [
        race.start(["nc", "-N", "127.77.1.1", str(PORT + 20 + number)], of=str(image))
        for number in range(receivers)
    ]
    server = sum(race.end(each) for each in senders)
    used = sum(race.end(each) for each in clients)
    race.report(
        "nc (TCP), network only", receivers, time.monotonic() - start, server, used / receivers
    )


def attempt(name: str, size: int, run: Callable[[Race], None]) -> None:
    race = Race(size)
    try:
        run(race)
    except (RuntimeError, OSError) as error:
        print(f"{name}: {error}", flush=True)
    finally:
        race.clear()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("megabits", nargs="?", type=int, default=6000, help="asked of ours")
    parser.add_argument("--manifest", type=int, default=0, metavar="N", help="pairs of transfers")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and end what was started
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        where = Path(name)
        image = arguments.image or where / "made.ndz"
        if not arguments.image:
            make_image(image)
        image.read_bytes()  # into the page cache
        megabits = arguments.megabits
        if arguments.manifest:
            paired(image, where, megabits, arguments.manifest)
            return 0
        size = image.stat().st_size
        print(f"image of {size / 1e6:.0f} MB; ours asked for {megabits} Mb/s; CPU seconds per GB")
        print(f"{'':28} {'n':>2} {'wall':>9} {'':>12} {'sender':>6} {'each':>6}")
        for receivers in (1, 4):
            for raw in (True, False):
                attempt(
                    "ours",
                    size,
                    lambda race, n=receivers, raw=raw: frisbee(
                        race, image, n, where, megabits, raw
                    ),
                )
            if shutil.which("udp-sender"):
                attempt("udpcast", size, lambda race, n=receivers: udpcast(race, image, n))
            if shutil.which("nc"):
                attempt("nc", size, lambda race, n=receivers: tcp(race, image, n))
    return 0


if __name__ == "__main__":
    sys.exit(main())
