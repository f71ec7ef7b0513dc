#!/usr/bin/env python3
"""The wire, side by side: ours, and what else could be used, on several kinds of path.

    wire.py [IMAGE] [--path whole --path split ...] [--clients 1 4 6] [--original DIRECTORY]

For each path, number of clients, and network only or restore, all contenders take turns in one
run, some rounds; medians are printed: seconds, MB of image a second, microseconds of processor a
packet of the server and of one client, and the time of each as a multiple of ours. The restore
goes to a file in memory. What is not installed is left out. Without an image, one of about 290 MB
is made. Without --original, lines with a star tell what the original takes elsewhere: `elsewhere`.
With --manifest N, instead, what a manifest costs: ratios of N pairs of transfers.

Only root can make the paths, which are network namespaces of their own: `paths.py`.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import elsewhere
import paths

ROOT = Path(__file__).parents[1]
LIMIT = 60  # seconds for one transfer
GROUP, RENDEZVOUS, PORT, BLOCK = "239.77.1.1", "239.77.1.2", 17700, 1024
MANY = "100000000000"  # bits a second: no limit


@dataclass(frozen=True)
class Contender:
    """Programs to measure, as lines with {address}, {interface}, {group}, {port}, {image}, {disk}.

    ``sink`` is a line of a client that writes nothing, where it has one.
    """

    name: str
    server: str
    client: str
    sink: str
    is_server_first: bool = True
    many: bool = True


@dataclass
class Figures:
    """Of one kind of transfer, each round's: seconds, and seconds of processor of each side."""

    wall: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)


def frisbee(name: str, server: str, client: str, megabits: int) -> Contender:
    """Return programs with frisbee's options."""
    common = "-i {address} -m {group} -p {port}"
    rate = f"-W {megabits * 1_000_000 if megabits else MANY}"
    return Contender(
        name,
        f"{server} -T -1 {rate} {common} {{image}}",
        f"{client} -q {common} {{disk}}",
        f"{client} -q -N {common} /dev/null",
    )


def contenders(arguments: argparse.Namespace) -> list[Contender]:
    """Return ours, and whatever else there is."""
    ours = [
        f"{sys.executable} {ROOT / 'bin' / f'rhubarbe-{name}'}" for name in ("frisbeed", "frisbee")
    ]
    found = [frisbee("ours", *ours, arguments.megabits)]
    for directory in arguments.original:
        programs = [str(directory / name) for name in ("frisbeed", "frisbee")]
        found.append(frisbee(directory.name, *programs, arguments.megabits))
        found.append(frisbee(f"ours to {directory.name}", ours[0], programs[1], arguments.megabits))
        found.append(frisbee(f"{directory.name} to ours", programs[0], ours[1], arguments.megabits))
    found += [Contender(*words) for words in arguments.other]
    if shutil.which("udp-sender"):
        common = (
            "--interface {interface} --portbase {port} --nokbd"
            f" --mcast-rdv-address {RENDEZVOUS} --file"
        )
        rate = f" --max-bitrate {arguments.megabits}m" if arguments.megabits else ""
        receiver = f"udp-receiver {common} /dev/null"
        server = f"udp-sender --min-receivers {{clients}}{rate} {common} {{image}}"
        found.append(Contender("udpcast", server, "", receiver, is_server_first=False))
    if shutil.which("nc"):
        server = "sh -c 'exec nc -N -l {address} {port} < {image}'"
        client = "sh -c 'exec nc -d {server} {port} > /dev/null'"
        found.append(Contender("nc (TCP)", server, "", client, many=False))
    return found


def make_image(path: Path, chunks: int = 278) -> None:
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


class Transfer:
    """One transfer: programs are started, waited for, and their processor time is taken."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, host: paths.Host, line: str, **names: object) -> subprocess.Popen[bytes]:
        """Start a program at a host."""
        values = {"address": host.address, "interface": host.interface, **names}
        words = [word.format(**values) for word in split_words(line)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        started = subprocess.Popen(host.line(words), stderr=subprocess.DEVNULL, **quiet)
        self._running.append(started)
        return started

    def end(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for a program; return its seconds of processor."""
        ended, limit = 0, time.monotonic() + LIMIT
        while not ended:
            if time.monotonic() > limit:
                raise RuntimeError(f"{process.args} did not end in {LIMIT} s")
            time.sleep(0.005)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._running.remove(process)
        if process.returncode:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        return usage.ru_utime + usage.ru_stime

    def await_socket(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Wait until a program listens: what it does before is not timed."""
        limit = time.monotonic() + LIMIT
        while not is_bound(process.pid, port):
            if time.monotonic() > limit or process.poll() is not None:
                raise RuntimeError(f"{process.args} does not listen")
            time.sleep(0.005)

    def clear(self) -> None:
        """End what still runs."""
        for each in self._running:
            each.kill()
            each.wait()


def split_words(line: str) -> list[str]:
    """Split a line into words; what is in single quotes is one."""
    words: list[str] = []
    for number, piece in enumerate(line.split("'")):
        words += [piece] if number % 2 else piece.split()
    return words


def is_bound(pid: int, port: int) -> bool:
    """Tell whether anybody in the namespace of a process listens to a port."""
    for table in ("udp", "tcp"):
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        if any(int(line.split()[1].split(":")[1], 16) == port for line in lines):
            return True
    return False


def transfer(
    contender: Contender, path: paths.Path, image: Path, where: Path, *, restore: bool
) -> tuple[float, float, float]:
    """Have it done once; return the seconds, and the seconds of processor of each side."""
    race = Transfer()
    names = {"group": GROUP, "port": PORT, "image": image, "clients": len(path.clients)}
    names["server"] = path.server.address
    line = contender.client if restore else contender.sink
    try:
        if contender.is_server_first:
            server = race.start(path.server, contender.server, **names)
            race.await_socket(server, PORT)
        start = time.monotonic()
        clients = [
            race.start(host, line, disk=where / f"disk{number}", **names)
            for number, host in enumerate(path.clients)
        ]
        if not contender.is_server_first:
            server = race.start(path.server, contender.server, **names)
        used = [race.end(each) for each in clients]
        wall = time.monotonic() - start
        return wall, race.end(server), statistics.mean(used)
    finally:
        race.clear()
        for disk in where.glob("disk*"):
            disk.unlink()


@contextmanager
def made(kind: str, clients: int) -> Iterator[paths.Path]:
    """Yield a path; it is removed afterwards."""
    try:
        yield paths.KINDS[kind](clients)
    finally:
        paths.remove()


def compare(
    found: list[Contender],
    path: paths.Path,
    image: Path,
    where: Path,
    rounds: int,
    *,
    restore: bool,
) -> dict[str, Figures]:
    """Have all of them do it some times, in turns; who fails is out."""
    taking = [each for each in found if (each.client if restore else each.sink)]
    if len(path.clients) > 1:
        taking = [each for each in taking if each.many]
    figures = {each.name: Figures() for each in taking}
    for number in range(rounds):
        for each in taking[:: (-1) ** number]:
            if each.name not in figures:
                continue
            try:
                wall, server, client = transfer(each, path, image, where, restore=restore)
            except (RuntimeError, OSError) as error:
                print(f"{each.name}: {error}", flush=True)
                del figures[each.name]
                continue
            mine = figures[each.name]
            mine.wall.append(wall)
            mine.server.append(server)
            mine.client.append(client)
    return figures


def print_table(kind: str, clients: int, what: str, size: int, figures: dict[str, Figures]) -> None:
    """Print the medians, a line each."""
    if "ours" not in figures:
        return
    ours = statistics.median(figures["ours"].wall)
    packets = -(-size // BLOCK)
    for name, each in figures.items():
        wall = statistics.median(each.wall)
        server, client = (
            statistics.median(seconds) / packets * 1e6 for seconds in (each.server, each.client)
        )
        print(
            f"{kind:9} {clients:2} {what:8} {name:18} {wall:7.2f} s {size / 1e6 / wall:6.0f} MB/s"
            f" {server:7.1f} {client:7.1f} {wall / ours:6.2f}",
            flush=True,
        )


def print_elsewhere(kind: str, what: str, size: int, ours: Figures, factor: float) -> None:
    """Print what the original took elsewhere, times `factor`, for an image of this size."""
    if (kind, what) not in elsewhere.WIRE:
        return
    wall = elsewhere.WIRE[kind, what] * factor * size / elsewhere.WIRE_BYTES
    client = f"{elsewhere.CLIENT_US * factor:7.1f}" if kind == "split" else " " * 7
    print(
        f"{kind:9}  1 {what:8} {'original *':18} {wall:7.2f} s {size / 1e6 / wall:6.0f} MB/s"
        f" {'':7} {client} {wall / statistics.median(ours.wall):6.2f}",
        flush=True,
    )


def paired(image: Path, where: Path, pairs: int, megabits: int) -> None:
    """Print the time and the client's processor with a manifest, each divided by those without."""
    ours = [str(ROOT / "bin" / f"rhubarbe-{name}") for name in ("frisbeed", "frisbee", "imagedump")]
    line = [sys.executable, ours[2], "--manifest", str(where / "manifest"), str(image)]
    digest = subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()[-1]
    proven = f" --manifest {where / 'manifest'} --manifest-digest {digest}"
    server, client = (f"{sys.executable} {program}" for program in ours[:2])
    plain = frisbee("ours", server, client, megabits)
    with_manifest = frisbee("with a manifest", server, client + proven, megabits)
    with made("loopback", 1) as path:
        figures = compare([plain, with_manifest], path, image, where, pairs, restore=True)
    for name in ("wall", "client"):
        both = (getattr(figures[each], name) for each in ("with a manifest", "ours"))
        ratios = [mine / other for mine, other in zip(*both, strict=True)]
        print(f"with a manifest, {name}: {middle(ratios)}")


def middle(ratios: list[float]) -> str:
    """Return the median and the middle half, which tells how much of it is noise."""
    text = f"{statistics.median(ratios):.3f}"
    if len(ratios) > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        text += f" ({low:.3f} to {high:.3f})"
    return text


def read_arguments() -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(
        description=str(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--path", action="append", choices=paths.KINDS, help="all")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 6], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument(
        "--megabits", type=int, default=0, help="a second, asked of all; 0: no limit"
    )
    parser.add_argument("--only", default="", help="of contenders, those with this in the name")
    parser.add_argument("--what", choices=("network", "restore"), help="both")
    parser.add_argument(
        "--original", action="append", type=Path, default=[], metavar="DIRECTORY",
        help="with another frisbeed and frisbee",
    )  # fmt: skip
    parser.add_argument(
        "--other", nargs=4, action="append", default=[],
        metavar=("NAME", "SERVER", "CLIENT", "SINK"),
        help="other programs: {address} {interface} {group} {port} {image} {disk} {server}",
    )  # fmt: skip
    parser.add_argument("--manifest", type=int, default=0, metavar="N", help="pairs of transfers")
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    paths.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and end what was started
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        where = Path(name)
        image = arguments.image or where / "made.ndz"
        if not arguments.image:
            make_image(image)
        size = len(image.read_bytes())  # now it is in the page cache
        if arguments.manifest:
            paired(image, where, arguments.manifest, arguments.megabits)
            return 0
        found = [each for each in contenders(arguments) if arguments.only in each.name]
        print(f"{os.cpu_count()} cores, {machine()}; load before {os.getloadavg()[0]:.1f}")
        print(
            f"image of {size / 1e6:.0f} MB, medians of {arguments.rounds}; us of processor a packet"
        )
        print(f"{'path':9} {'n':>2} {'what':8} {'who':18} {'':9} {'':11} "
              f"{'server':>7} {'client':>7} {'time':>6}")  # fmt: skip
        factor = 0.0 if arguments.original else elsewhere.here(elsewhere.deflates())
        for kind in arguments.path or paths.KINDS:
            for clients in arguments.clients:
                for what in [arguments.what] if arguments.what else ["network", "restore"]:
                    with made(kind, clients) as path:
                        figures = compare(
                            found, path, image, where, arguments.rounds, restore=what == "restore"
                        )
                    print_table(kind, clients, what, size, figures)
                    if factor and clients == 1 and "ours" in figures:
                        print_elsewhere(kind, what, size, figures["ours"], factor)
    if factor:
        print(f"* on another machine, where zlib deflates so many times as fast: {factor:.2f}")
    return 0


def machine() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


if __name__ == "__main__":
    sys.exit(main())
