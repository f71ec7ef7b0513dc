"""What happens in one trial, from its seed alone: which faults, which commands when, what disturbs.

Pure: a seed in, a plan out, so that whatever a seed broke can be run again.
"""

import random
from dataclasses import dataclass

NODES = 3
# Those that wear off within the limits of a phase; the others are in tests/programs.
FAULTS = (
    "card-dead",
    "card-silent",
    "card-lies",
    "card-500",
    "never-leaves",
    "never-returns",
    "telnet-drops",
    "frisbee-fails",
    "disk-small",
    "disk-errors",
)
# What is done to a command, with how likely that is.
DISTURBANCES = {
    "none": 12,
    "int": 1,
    "int-int": 1,
    "term": 1,
    "hup": 1,
    "kill": 2,
    "guardian": 1,
    "guardian-kill": 1,
    "crash": 1,
    "server": 1,
}
OTHERS = ("load", "load", "save", "wait")


@dataclass(frozen=True)
class Step:
    """One command: it starts `after` the first one, and is disturbed `within` its own life."""

    verb: str
    nodes: tuple[int, ...]
    options: tuple[str, ...]
    after: float
    disturbance: str
    within: float

    @property
    def command(self):
        """The words of the command."""
        return (f"rhubarbe-{self.verb}", *self.options, *map(str, self.nodes))


@dataclass(frozen=True)
class Trial:
    """A testbed with faults (`fit02:card-dead*1`), and the commands that run on it."""

    seed: int
    faults: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def faulty(self):
        """The numbers of the nodes on which something goes wrong."""
        return {int(fault[3:5]) for fault in self.faults}


def trial(seed):
    """Return the plan of a seed."""
    choose = random.Random(seed)
    faulty = choose.sample(range(1, NODES + 1), choose.choice((0, 0, 1, 1, 2)))
    faults = tuple(
        f"fit{number:02}:{choose.choice(FAULTS)}{choose.choice(('', '*1'))}" for number in faulty
    )
    first = _step(choose, "load", tuple(range(1, NODES + 1)), 0.0)
    others = [
        _step(choose, choose.choice(OTHERS), _some(choose), choose.uniform(0.0, 3.0))
        for _ in range(choose.choice((0, 1, 1, 2)))
    ]
    return Trial(seed, faults, (first, *others))


def _some(choose):
    return tuple(sorted(choose.sample(range(1, NODES + 1), choose.randint(1, NODES - 1))))


def _step(choose, verb, nodes, after):
    options = ()
    if verb == "load":
        options = ("--retries", choose.choice(("0", "1")))
        options += choose.choice(((), (), ("--verify",), ("--wait",)))
    if verb == "save":
        nodes = nodes[:1]
    if verb != "wait":
        options += choose.choice(((), ("--wait-for-lock", "8")))
    disturbance = choose.choices(tuple(DISTURBANCES), tuple(DISTURBANCES.values()))[0]
    # From before anything has happened to after all is done.
    return Step(verb, nodes, options, after, disturbance, choose.uniform(0.2, 6.0))
