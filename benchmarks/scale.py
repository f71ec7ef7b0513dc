"""What a node costs the suite: CPU, memory and descriptors of `load` and `wait` as nodes get many.

    python benchmarks/scale.py [10 100 1000]

The nodes are emulated; their frisbee is a line of shell that prints what frisbee prints. Figures
are medians of some runs, of more where nodes are few, since there chance weighs more. The claim:
from 100 to 1,000 nodes, one more costs at most 1.2 times what it costs from 10 to 100.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

Figures = dict[str, float]

MOST_RUNS = 5

BIN = Path(sys.executable).parent
CHUNKS = 28
CLIENT = (
    "f() {"
    f" echo 'Joined the team after 0 sec. ID is 1. File is {CHUNKS} chunks (1 bytes)';"
    f" i=0; while [ $i -lt {CHUNKS} ]; do printf .; i=$((i+1)); done; echo; }}; f"
)
# As a site would: a real one does not reset 1,000 nodes in one second.
SETTINGS = {
    "client": CLIENT,
    "reset_window": 25,
    "load_default_timeout": 1200,
    "wait_default_timeout": 600,
    "timeout_before_telnet": 300,
    "reset_timeout": 300,
    "idle_after_reset": 120,
    "silence_timeout": 120,
    "cmc_default_timeout": 60,
}


def configure(directory: Path) -> None:
    conf = directory / "rhubarbe.conf"
    lines = conf.read_text().splitlines()
    for name, value in SETTINGS.items():
        section = "[frisbee]" if name == "client" else "[nodes]"
        lines = [line for line in lines if not line.startswith(f"{name} =")]
        lines.insert(lines.index(section) + 1, f"{name} = {value}")
    conf.write_text("\n".join(lines) + "\n")


@contextmanager
def testbed(nodes: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        directory = Path(name)
        process = subprocess.Popen(
            [
                BIN / "rhubarbe-testbed",
                *("--directory", directory, "--nodes", str(nodes)),
                *("--boot-time", "1", "--sample-size", "1"),
            ],
            stdout=subprocess.PIPE,
        )
        try:
            if not process.stdout.readline():
                raise SystemExit(f"the testbed of {nodes} nodes did not start")
            configure(directory)
            yield directory
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def measure(directory: Path, *command: str) -> Figures:
    """Run a command; return its figures."""
    environ = os.environ | {
        "RHUBARBE_CONF": str(directory / "rhubarbe.conf"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    started = time.monotonic()
    with (directory / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=directory, env=environ, stdout=output)
    most = [0]
    watcher = threading.Thread(target=count_descriptors, args=(process.pid, most))
    watcher.start()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if process.returncode:
        sys.stdout.write((directory / "output").read_text()[-2000:])
        raise SystemExit(f"{command} ended with {process.returncode}")
    return {
        "CPU ms": 1000 * (used.ru_utime + used.ru_stime),
        "memory KiB": used.ru_maxrss,
        "descriptors": most[0],
        "seconds": time.monotonic() - started,
    }


def typical(runs: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def count_descriptors(pid: int, most: list[int]) -> None:
    with suppress(OSError):
        while True:
            most[0] = max(most[0], sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[10, 100, 1000])
    sizes = parser.parse_args().sizes
    figures = {}
    for nodes in sizes:
        with testbed(nodes) as directory:
            for verb in ("wait", "load"):
                runs = [
                    measure(directory, f"rhubarbe-{verb}", f"1-{nodes}")
                    for _ in range(min(MOST_RUNS, 1 + 200 // nodes))
                ]
                figures[verb, nodes] = typical(runs)
                told = ", ".join(
                    f"{name} {value:.0f}" for name, value in figures[verb, nodes].items()
                )
                print(f"{verb} {nodes} nodes, {len(runs)} runs: {told}", flush=True)
    for verb in ("wait", "load"):
        compare(verb, sizes, figures)


def compare(verb: str, sizes: list[int], figures: dict[tuple[str, int], Figures]) -> None:
    """Print what one more node costs between two sizes, and how that grows."""
    for name in ("CPU ms", "memory KiB", "descriptors"):
        marginal = [
            (figures[verb, large][name] - figures[verb, small][name]) / (large - small)
            for small, large in pairwise(sizes)
        ]
        words = ", ".join(f"{each:.2f}" for each in marginal)
        growth = [later / earlier for earlier, later in pairwise(marginal) if earlier > 0]
        ratios = "".join(f"; ratio {ratio:.2f}" for ratio in growth)
        print(f"{verb}: one more node costs {words} {name}{ratios}")


if __name__ == "__main__":
    main()
