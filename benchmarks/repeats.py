#!/usr/bin/env python3
"""How much of an image is sent again, on a real wire: hosts on a bridge that lose packets.

For each bandwidth and loss: real clients in network namespaces of their own, and, where asked for,
a process that keeps one core busy. Prints how many times the image was sent, the least possible
without coding, their ratio, and the time against the ideal. Needs root, ip, iptables and ethtool.

The least: a block is sent again while any of n clients that lose a share p lacks it, so it is sent
more than k times with the chance 1 - (1 - p^k)^n, and so many times on average:

    least(n, p) = sum over k >= 0 of 1 - (1 - p^k)^n
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "frisbee"))

from namespaces import Switch
from simulate import least

BITS_PER_BLOCK = 8976
LIMIT_S = 300


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep the last so many cores busy, each by a process of its own."""
    last = sorted(os.sched_getaffinity(0))[-cores:] if cores else []
    burners = [
        subprocess.Popen(
            [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile 1: pass"]
        )
        for core in last
    ]
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.wait()


def run(
    switch: Switch, image: Path, clients: int, megabits: int, loss: float, *, parity: bool
) -> None:
    """Have all the clients fetch the image once; print how it went."""
    options = ["-W", str(megabits * 10**6), "-T", "-1", *(() if parity else ("--no-parity",))]
    numbers = range(1, clients + 1)
    lost_before = sum(map(switch.overflowed, numbers))
    with switch.serving(image, *options) as server:
        # What one misses who starts later is not measured here: all are answered together.
        server.send_signal(signal.SIGSTOP)
        try:
            sent = [switch.datagrams_sent(number) for number in numbers]
            started = [switch.client(number, "/dev/null", "-N", "-T", "60") for number in numbers]
            while any(switch.datagrams_sent(number) == sent[number - 1] for number in numbers):
                if any(each.poll() is not None for each in started):
                    break
                time.sleep(0.1)
        finally:
            start = time.monotonic()
            server.send_signal(signal.SIGCONT)
        said = [each.communicate(timeout=LIMIT_S)[1].decode() for each in started]
        seconds = time.monotonic() - start
    overflowed = sum(map(switch.overflowed, numbers)) - lost_before
    if failed := [text for text, each in zip(said, started, strict=True) if each.returncode]:
        raise SystemExit(f"a client failed: {failed[0][-500:]}")
    blocks = image.stat().st_size >> 10
    sent = int(re.search(r"1k blocks sent:\s+(\d+)", server.said)[1]) / blocks
    best = least(clients, loss)
    ideal = best * blocks * BITS_PER_BLOCK / megabits / 1e6
    print(
        f"{megabits:5d} Mb/s {loss:5.1%} {sent:6.3f} of {best:5.3f}: {sent / best:6.3f}"
        f"  {seconds:6.2f} s of {ideal:5.2f}: {seconds / ideal:5.2f}"
        f"  {overflowed / clients / blocks:6.1%} overflowed  load {os.getloadavg()[0]:4.1f}",
        flush=True,
    )
    if os.environ.get("DETAILS"):
        print(server.said)
        print(*said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--chunks", type=int, default=100, help="MiB of the image")
    parser.add_argument("--megabits", type=int, nargs="*", default=[100, 400])
    parser.add_argument(
        "--loss", type=float, nargs="*", default=[0.01, 0.05], help="shares of packets, below 1"
    )
    parser.add_argument("--busy", type=int, default=0, metavar="CORES", help="kept busy meanwhile")
    parser.add_argument("--no-parity", action="store_true", help="the server combines nothing")
    parser.add_argument("--times", type=int, default=1, help="transfers of each kind")
    given = parser.parse_args()
    if not all(0 <= loss < 1 for loss in given.loss):
        parser.error("--loss: a share is from 0 to below 1, such as 0.01")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, busy(given.busy):
        image = Path(name) / "file"
        image.write_bytes(os.urandom(1 << 20) * given.chunks)
        print(f"{given.clients} clients, {given.chunks} MiB; image sent, least possible, ratio")
        for loss in given.loss:
            with Switch(given.clients) as switch:
                parity = not given.no_parity
                switch.split_trains()
                if loss:
                    switch.lose(loss)
                for megabits in given.megabits:
                    for _ in range(given.times):
                        run(switch, image, given.clients, megabits, loss, parity=parity)


if __name__ == "__main__":
    main()
