"""Leases as users meet them: refused without, let in with one, and one of two who book at once."""

import os
import random
import re
import socket
import subprocess
import time

import pytest
from emulated import differing_blocks
from test_two_users import BECOME_NOBODY, NAMES, NOBODY

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]

ROUNDS = 100


class Gateway:
    """An emulated testbed that asks for leases, and its users."""

    def __init__(self, testbed):
        self.testbed = testbed
        for directory in ("state", "pxelinux.cfg"):
            (testbed.directory / directory).chmod(0o1777)
        self.configure("[leases]\nbackend = local\n")

    def configure(self, text):
        conf = self.testbed.directory / "rhubarbe.conf"
        kept = conf.read_text().partition("[leases]")[0]
        conf.write_text(kept + text)

    def start(self, user, *command):
        """Start a command of this user; root's own privileges are not what it is about."""
        home = self.testbed.directory / f"home-{user}"
        if not home.exists():
            home.mkdir()
            os.chown(home, user, -1)
        conf = self.testbed.directory / "rhubarbe.conf"
        return subprocess.Popen(
            [*(BECOME_NOBODY if user != os.getuid() else ()), *command],
            cwd=home,
            env=self.testbed.environ(HOME=str(home), RHUBARBE_CONF=str(conf), USER="root"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, user, *command):
        process = self.start(user, *command)
        told = process.communicate(timeout=60)[0]
        return process.returncode, told


@pytest.fixture
def gateway(make_testbed):
    return Gateway(make_testbed("--nodes", "2", "--boot-time", "0.4", "--sample-size", "4"))


@pytest.fixture
def somebody():
    """A user who is not root."""
    return os.getuid() or NOBODY


def untouched(gateway):
    """Return whether no node was reset, locked, or linked to."""
    testbed = gateway.testbed
    log = testbed.log()
    locks = testbed.directory / "state" / "locks"
    return not (testbed.links() or "reset" in log or (locks.exists() and list(locks.iterdir())))


def test_without_a_lease_nothing_is_touched(gateway, somebody):
    for verb, nodes in (("load", "1-2"), ("save", "1"), ("off", "1-2"), ("rescue", "1")):
        code, told = gateway.run(somebody, f"rhubarbe-{verb}", nodes)
        assert code == 1
        (line,) = [line for line in told.splitlines() if line.startswith("rhubarbe-")]
        assert re.fullmatch(
            rf"rhubarbe-{verb}: .* has no lease now \(it is free\), and {verb} needs one:"
            " nothing was touched; .*",
            line,
        )
        assert untouched(gateway)


def test_with_a_lease_it_runs(gateway, somebody):
    testbed = gateway.testbed
    assert gateway.run(somebody, "rhubarbe-status", "1-2")[0] == 0
    assert gateway.run(somebody, "rhubarbe-book", "now", "+2m")[0] == 0
    code, told = gateway.run(somebody, "rhubarbe-load", "1-2")
    assert code == 0, told
    assert re.search(r"your lease ends at .*, in 1 min \d+ s, but load may take 5 min", told)
    for name in ("fit01", "fit02"):
        assert differing_blocks(testbed.disk(name), testbed.source) == []
    assert gateway.run(somebody, "rhubarbe-book", "--delete", f"{somebody}.1")[0] == 0
    code, told = gateway.run(somebody, "rhubarbe-reset", "1")
    assert code == 1
    assert "has no lease now" in told


def test_a_service_that_does_not_answer_refuses_within_bounds(gateway, somebody):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        gateway.configure(
            "[leases]\nbackend = r2labapi\ntimeout = 1\n"
            f"[r2labapi]\nurl = {url}\nresource_name = testbed\n"
        )
        started = time.monotonic()
        code, told = gateway.run(somebody, "rhubarbe-load", "1-2")
        assert time.monotonic() - started < 20
    assert code == 1
    assert told.splitlines()[-1] == (
        f"rhubarbe-load: the reservation service at {url}: no answer in 1 s;"
        " without a lease only root goes on: nothing touched"
    )
    assert untouched(gateway)


@pytest.mark.skipif(os.getuid() != 0, reason="only root is always allowed")
def test_root_is_always_allowed_and_told(gateway):
    gateway.configure(
        "[leases]\nbackend = r2labapi\n"
        "[r2labapi]\nurl = http://127.0.0.1:1\nresource_name = testbed\n"
    )
    code, told = gateway.run(0, "rhubarbe-reset", "1")
    assert code == 0, told
    assert "no lease is asked for: root may reset at any time" in told


@pytest.mark.full
@pytest.mark.timeout(600)
def test_of_two_users_who_book_at_once_exactly_one_wins(gateway):
    if os.getuid():
        pytest.skip("only root can be two users")
    choose = random.Random(6)
    won = dict.fromkeys(NAMES, 0)
    for number in range(ROUNDS):
        begins = 2_000_000_000 + number * 86400
        periods = {
            0: (begins, begins + 7200),
            NOBODY: (begins + choose.choice((-3600, 0, 3600)), begins + 5400),
        }
        commands = {}
        for user in choose.sample(list(NAMES), 2):
            words = [time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(when)) for when in periods[user]]
            commands[user] = gateway.start(user, "rhubarbe-book", *words)
        told = {user: command.communicate(timeout=60)[0] for user, command in commands.items()}
        good = [user for user, command in commands.items() if command.returncode == 0]
        assert len(good) == 1, told
        (loser,) = set(NAMES) - set(good)
        assert commands[loser].returncode == 1
        assert f"that time is not free: {NAMES[good[0]]} has it from" in told[loser]
        won[good[0]] += 1
    assert min(won.values()) > 0, won
    rows = gateway.run(NOBODY, "rhubarbe-leases")[1].splitlines()[1:]
    assert len(rows) == ROUNDS
    assert not any("overlaps" in row for row in rows)


def test_nobody_removes_or_forges_the_lease_of_another(gateway):
    if os.getuid():
        pytest.skip("only root can be two users")
    assert gateway.run(0, "rhubarbe-book", "now", "+1h")[0] == 0
    state = gateway.testbed.directory / "state"
    kept = (state / "leases.0.sqlite").read_bytes()
    attacks = (
        f"rm {state}/leases.0.sqlite",
        f"mv {state}/leases.0.sqlite {state}/gone",
        f"cp /dev/null {state}/leases.0.sqlite",
        "rhubarbe-book --delete 0.1",
        "rhubarbe-book --slice root tomorrow +1h",
        "rhubarbe-book now +1h",
    )
    for attack in attacks:
        code, told = gateway.run(NOBODY, "sh", "-c", attack)
        assert code != 0, (attack, told)
    assert (state / "leases.0.sqlite").read_bytes() == kept
    forge = f"cp {state}/leases.0.sqlite {state}/leases.5.sqlite"
    assert gateway.run(NOBODY, "sh", "-c", forge)[0] == 0
    assert len(gateway.run(NOBODY, "rhubarbe-leases")[1].splitlines()) == 2
