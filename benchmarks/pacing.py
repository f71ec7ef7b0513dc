#!/usr/bin/env python3
"""How well the server keeps to the bandwidth that it was asked for, on the loopback interface.

Usage: pacing.py [MEGABITS...] (default 100 500 1000). One client fetches a file, and a listener of
our own beside it counts the blocks. Prints the mean over the session, and the most that any window
of one second had, both as parts of what was asked (one block counts for 8,976 bits).
"""

import argparse
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rhubarbe.frisbee.multicast import Channel, SessionAddress
from rhubarbe.frisbee.pacing import BITS_PER_BLOCK
from rhubarbe.frisbee.packets import BLOCK_BYTES

BIN = Path(__file__).parents[1] / "bin"
GROUP, PORT = "239.77.1.2", 17720
SECONDS = 8


def run(megabits: int, directory: Path) -> None:
    image = directory / "file"
    image.write_bytes(os.urandom(1 << 20) * (megabits * SECONDS * 10**6 // BITS_PER_BLOCK // 1024))
    session = ["-m", GROUP, "-p", str(PORT)]
    rate = ["-W", str(megabits * 10**6)]
    command = [sys.executable, BIN / "rhubarbe-frisbeed", "-T", "-1", "-i", "127.77.1.1"]
    with Channel(SessionAddress(GROUP, PORT, "127.77.1.9"), exclusive=False) as channel:
        server = subprocess.Popen([*command, *session, *rate, image], stderr=subprocess.DEVNULL)
        time.sleep(0.6)
        receive = [sys.executable, BIN / "rhubarbe-frisbee", "-N", "-i", "127.77.1.2"]
        client = subprocess.Popen([*receive, *session, "/dev/null"], stderr=subprocess.DEVNULL)
        arrivals = listen(channel, client)
        server.wait()
    show(megabits, arrivals)


def listen(channel: Channel, client: subprocess.Popen[bytes]) -> list[tuple[float, int]]:
    """Return (when, blocks) of all that arrives until the client has ended."""
    arrivals: list[tuple[float, int]] = []
    while client.poll() is None:
        for each in select.select(channel.sockets, (), (), 0.1)[0]:
            for arrival in channel.receive(each, 16):
                if arrival.segment == BLOCK_BYTES:
                    arrivals.append((time.monotonic(), len(arrival.data) // BLOCK_BYTES))
    return arrivals


def show(megabits: int, arrivals: list[tuple[float, int]]) -> None:
    asked = megabits * 1e6 / BITS_PER_BLOCK
    seconds = arrivals[-1][0] - arrivals[0][0]
    mean = sum(blocks for _, blocks in arrivals[:-1]) / seconds
    most = inside = first = 0
    for at, blocks in arrivals:
        inside += blocks
        while arrivals[first][0] <= at - 1:
            inside -= arrivals[first][1]
            first += 1
        most = max(most, inside)
    print(
        f"{megabits:5d} Mb/s: {seconds:5.1f} s, mean {mean / asked:6.3f},"
        f" most in a second {most / asked:6.3f}",
        flush=True,
    )


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("megabits", nargs="*", type=int, default=[100, 500, 1000])
    arguments = parser.parse_args(argv[1:])
    print(f"{os.cpu_count()} cores; parts of what was asked")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        for megabits in arguments.megabits:
            run(megabits, Path(name))


if __name__ == "__main__":
    main(sys.argv)
