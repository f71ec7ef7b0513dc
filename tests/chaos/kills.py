"""End loads of six nodes at random instants, and count what is left a second later.

    python tests/chaos/kills.py --kind kill --trials 200

The kinds are kill (SIGKILL), term, hup, int-int (^C twice) and guardian-kill (the guardian first).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "programs")]

from emulated import start_testbed  # noqa: E402 - found by the line above
from schedule import Step  # noqa: E402
from trials import MARK, Command, disturb, processes  # noqa: E402

NODES = 6
LATEST = 7.0


def end_one(testbed, kind, instant):
    """Run one load and end it after `instant` seconds; return the phase it was in, what is left."""
    mark = uuid.uuid4().hex
    step = Step("load", tuple(range(1, NODES + 1)), (), 0.0, kind, instant)
    command = Command(step, testbed.directory / "report.json", mark)
    told = testbed.directory / "told.json"
    with told.open("w") as output:
        command.process = subprocess.Popen(
            ["rhubarbe-load", "--json", "-b", "60", f"1-{NODES}"],
            cwd=testbed.directory,
            env=testbed.environ() | {MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        time.sleep(instant)
        disturb(command)
        command.process.wait(30)
    time.sleep(1.0)
    return phase(told), [*testbed.links(), *processes(mark, "")]


def phase(told):
    """Return the phase in which the load was: the last that a node had entered."""
    found = "start"
    for line in told.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # cut in the middle
            continue
        if event["event"] == "PhaseStarted":
            found = event["phase"]
        elif event["event"] == "Finished" and not event["exit_code"]:
            found = "end"
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="kill", help="how they are ended (kill)")
    parser.add_argument("--trials", type=int, default=200, help="how many (200)")
    parser.add_argument("--latest", type=float, default=LATEST, help=f"in seconds ({LATEST})")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (0)")
    arguments = parser.parse_args()
    choose, phases, failed = random.Random(arguments.seed), Counter(), 0
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        options = ("--nodes", str(NODES), "--boot-time", "1.5", "--sample-size", "6")
        testbed = start_testbed(Path(name), *options)
        try:
            for _ in range(arguments.trials):
                hit, left = end_one(testbed, arguments.kind, choose.uniform(0.2, arguments.latest))
                phases[hit] += 1
                if left:
                    failed += 1
                    print(f"in {hit}: left {left}", flush=True)
        finally:
            testbed.end()
    clean = arguments.trials - failed
    print(f"{arguments.kind}: {clean} of {arguments.trials} left nothing;", dict(phases))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
