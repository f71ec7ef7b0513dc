"""Run many seeds of chaos, several testbeds side by side, and tell what broke.

python tests/chaos/soak.py --seeds 1000

With --strangers, a hostile user and a hostile host are beside (as root).
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "programs")]

from schedule import trial  # noqa: E402 - found by the line above
from trials import run_seed  # noqa: E402

LEAST_LOADED = 0.6


def soak(seeds, side_by_side, tell=lambda finding: None, *, strangers=False):
    """Run seeds; return the findings that broke something, and the share of good nodes loaded."""
    findings = []
    with ThreadPoolExecutor(side_by_side) as pool:
        for future in as_completed(
            [pool.submit(run_seed, seed, strangers=strangers) for seed in seeds]
        ):
            findings.append(future.result())
            tell(findings[-1])
    good = sum(finding.good_nodes for finding in findings)
    loaded = sum(finding.loaded_nodes for finding in findings)
    return [finding for finding in findings if finding.broken], loaded / max(1, good)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (100)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--side-by-side", type=int, default=4, help="testbeds at once (4)")
    parser.add_argument("--strangers", action="store_true", help="have hostile ones beside")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    started = time.monotonic()
    deeds = Counter()

    def tell(finding):
        deeds.update(finding.deeds)
        words = "; ".join(finding.broken) or "well"
        print(f"seed {finding.seed}: {words} ({finding.seconds:.0f} s)", flush=True)

    broken, share = soak(seeds, arguments.side_by_side, tell, strangers=arguments.strangers)
    kinds = Counter(step.disturbance for seed in seeds for step in trial(seed).steps)
    print(f"{len(seeds)} seeds in {time.monotonic() - started:.0f} s: {len(broken)} broken;")
    print(f"{share:.0%} of the good nodes that were to be loaded have the new image;")
    print("disturbances:", ", ".join(f"{kind} {number}" for kind, number in kinds.most_common()))
    if deeds:
        print("strangers:", ", ".join(f"{deed} {number}" for deed, number in deeds.most_common()))
    return 1 if broken or share < LEAST_LOADED else 0


if __name__ == "__main__":
    sys.exit(main())
