"""Two users on overlapping nodes: exactly one goes on, the other is told by whom."""

import os
import random
import subprocess
import time

import pytest
from emulated import differing_blocks

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(300)]

TRIALS = int(os.environ.get("TRIALS", "3"))  # by hand: TRIALS=50
NOBODY = 65534
# It may read what it needs, such as Python or this checkout below /root; writing is another matter.
# Without the bit access(2), which looks for programs, would deny what execve(2) allows.
BECOME_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    *("--securebits=+no_setuid_fixup", "--"),
)
NAMES = {0: "root", NOBODY: "nobody"}


@pytest.fixture
def shared(make_testbed):
    """A testbed whose directories another user may use, as on a gateway."""
    if os.getuid():
        pytest.skip("only root can be two users")
    testbed = make_testbed("--nodes", "3", "--boot-time", "0.4", "--sample-size", "4")
    for directory in ("state", "pxelinux.cfg"):
        (testbed.directory / directory).chmod(0o1777)
    return testbed


def start(testbed, user, nodes):
    home = testbed.directory / f"home-{user}"
    home.mkdir(exist_ok=True)
    os.chown(home, user, -1)
    return subprocess.Popen(
        [*(BECOME_NOBODY if user else ()), "rhubarbe-load", "--retries", "0", *nodes],
        cwd=home,
        env=testbed.environ(HOME=str(home), RHUBARBE_CONF=str(testbed.directory / "rhubarbe.conf")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_exactly_one_goes_on(shared):
    choose = random.Random(5)
    for _ in range(TRIALS):
        users = choose.sample(list(NAMES), 2)
        selections = {users[0]: ("1", "2"), users[1]: ("2", "3")}
        commands = {}
        for user in users:
            commands[user] = start(shared, user, selections[user])
            time.sleep(choose.choice((0.0, 0.0, 0.05, 0.3)))
        told = {user: command.communicate(timeout=60)[0] for user, command in commands.items()}
        good = [user for user, command in commands.items() if command.returncode == 0]
        assert len(good) == 1, told
        (winner,) = good
        (loser,) = set(users) - {winner}
        assert commands[loser].returncode == 1
        taken = f"fit02 is taken by {NAMES[winner]}'s load (pid {commands[winner].pid}, since"
        assert taken in told[loser]
        for number in selections[winner]:
            disk = shared.disk(f"fit{int(number):02}")
            assert differing_blocks(disk, shared.source) == []
    assert shared.links() == []
