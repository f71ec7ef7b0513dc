"""How long the commands take that people type all day, beside a bare interpreter.

    python benchmarks/startup.py [RUNS]

Each command is really run, against the configuration and inventory of the samples and a directory
of images; bare interpreter and command take turns, so that both meet the same moments. The claim:
at most 5 times a bare interpreter's start.
"""

import argparse
import compileall
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rhubarbe

BIN = Path(sys.executable).parent
RUNS = 40
IMAGES = 20
NODES = 40
MOST = 5.0
COMMANDS = (
    "rhubarbe-images",
    "rhubarbe-nodes 1-12",
    "rhubarbe-nodes --fold 1-12",
    "rhubarbe-config",
    "rhubarbe-inventory",
    "rhubarbe-resolve fedora-3",
)


def entry(number: int) -> dict[str, dict[str, str]]:
    """Return a node as the inventory has it."""
    return {
        kind: {
            "hostname": f"{prefix}{number:02}",
            "ip": f"10.0.{rank}.{number}",
            "mac": f"02:00:00:00:{rank:02x}:{number:02x}",
        }
        for rank, (kind, prefix) in enumerate([("cmc", "reboot"), ("control", "fit")])
    }


def site(home: Path) -> dict[str, str]:
    """Make a gateway's configuration, inventory and images; return the environment of its users."""
    images = home / "images"
    images.mkdir()
    for number in range(IMAGES):
        (images / f"fedora-{number}.ndz").write_bytes(bytes(1 << 20))
    (images / "default.ndz").symlink_to("fedora-3.ndz")
    inventory = home / "inventory.json"
    inventory.write_text(json.dumps([entry(number) for number in range(1, NODES + 1)]))
    conf = home / "rhubarbe.conf"
    conf.write_text(f"[testbed]\ninventory_path = {inventory}\n[frisbee]\nimages_dir = {images}\n")
    conf.chmod(0o600)
    return os.environ | {"RHUBARBE_CONF": str(conf), "HOME": str(home)}


def once(command: list[str], environ: dict[str, str], home: Path) -> float:
    """Return the seconds that one run took."""
    begin = time.perf_counter()
    subprocess.run(command, env=environ, cwd=home, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="?", type=int, default=RUNS)
    runs = parser.parse_args().runs
    # As an installation does, whatever this environment says.
    compileall.compile_dir(Path(rhubarbe.__file__).parent, quiet=1)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"median of {runs} runs; `bare` is `python -c pass`, in turn with the command\n")
    print(f"{'command':<28} {'bare':>8} {'command':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory(prefix="startup-") as name:
        home = Path(name)
        environ = site(home)
        for line in COMMANDS:
            verb, *words = line.split()
            command = [str(BIN / verb), *words]
            bare, ours = [], []
            for _ in range(runs):
                bare.append(once([sys.executable, "-c", "pass"], environ, home))
                ours.append(once(command, environ, home))
            first, second = statistics.median(bare), statistics.median(ours)
            print(
                f"{line:<28} {first * 1000:6.1f}ms {second * 1000:6.1f}ms {second / first:6.2f}"
                + ("  more than claimed" if second > MOST * first else "")
            )


if __name__ == "__main__":
    main()
