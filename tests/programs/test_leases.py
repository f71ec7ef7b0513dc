"""Leases as users meet them: refused without, let in with one, and one of two who book at once."""

import os
import random
import re
import shutil
import socket
import subprocess
import time

import pytest
from emulated import Place, differing_blocks, start_testbed
from golden import assert_golden, transcript, without_times
from test_two_users import BECOME_NOBODY, NAMES, NOBODY

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]

ROUNDS = int(os.environ.get("TRIALS", "25"))  # by hand: TRIALS=100


class Gateway:
    """An emulated testbed that asks for leases, and its users."""

    def __init__(self, testbed):
        self.testbed = testbed
        for directory in ("state", "pxelinux.cfg"):
            (testbed.directory / directory).chmod(0o1777)
        self.begin()

    def begin(self):
        """Forget all leases and locks; what the testbed notes from here on counts."""
        self.configure("[leases]\nbackend = local\n")
        for place in (self.testbed.directory / "state").iterdir():
            shutil.rmtree(place)
        self._noted = len(self.testbed.log())

    def is_untouched(self):
        """Return whether no node was reset, or linked to."""
        log = self.testbed.log()[self._noted :]
        notes = self.testbed.directory.glob("state/*/link.*")
        return not (self.testbed.links() or " card " in log or list(notes))

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


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    testbed = start_testbed(
        tmp_path_factory.mktemp("leases"),
        *("--nodes", "2", "--boot-time", "0.4", "--sample-size", "4"),
    )
    yield Gateway(testbed)
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture
def gateway(running):
    running.begin()
    return running


@pytest.fixture
def somebody():
    """A user who is not root."""
    return os.getuid() or NOBODY


def test_without_a_lease_nothing_is_touched(gateway, somebody):
    for verb, nodes in (("load", "1-2"), ("save", "1"), ("off", "1-2"), ("rescue", "1")):
        code, told = gateway.run(somebody, f"rhubarbe-{verb}", nodes)
        assert code == 1
        (line,) = [line for line in told.splitlines() if line.startswith("rhubarbe-")]
        assert re.fullmatch(
            rf"rhubarbe-{verb}: .* has no lease now \(the testbed is free\), and {verb} needs one:"
            " nothing was touched; .*",
            line,
        )
        assert gateway.is_untouched()


def test_with_a_lease_it_runs(gateway, somebody):
    testbed = gateway.testbed
    code, told = gateway.run(somebody, "rhubarbe-status", "1-2")
    assert (code, told.count("has no lease now")) == (0, 1)
    assert gateway.run(somebody, "rhubarbe-book", "now", "+2m")[0] == 0
    code, told = gateway.run(somebody, "rhubarbe-load", "1-2")
    assert code == 0, told
    ends = r"your lease ends at .*, in (1 min \d+ s|2 min), but load may take 5 min"
    assert re.search(ends, told)
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
    assert gateway.is_untouched()


@pytest.mark.skipif(os.getuid() != 0, reason="only root is always allowed")
def test_root_is_always_allowed_and_told(gateway):
    gateway.configure(
        "[leases]\nbackend = r2labapi\n"
        "[r2labapi]\nurl = http://127.0.0.1:1\nresource_name = testbed\n"
    )
    code, told = gateway.run(0, "rhubarbe-reset", "1")
    assert code == 0, told
    assert "no lease is asked for: root may reset at any time" in told


class As(Place):
    """What another user runs in a place."""

    def run(self, *command, **more):
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        os.chown(home, NOBODY, -1)
        return super().run(*BECOME_NOBODY, *command, HOME=str(home), **more)


def dialogue(place, *lines, **environ):
    """Return the transcript of lines such as `nobody$ rhubarbe-leases`."""
    users = {"root": place, "nobody": As(place.directory)}
    shown = ""
    for line in lines:
        user, _, command = line.partition("$ ")
        shown += user + transcript(users[user], command, **environ)
    return shown


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
def test_book(tmp_path):
    """Around the changes of the clocks of the year 2060, on March 28 and October 31."""
    place = Place(tmp_path)
    place.configure(f"[testbed]\nstate_dir = {tmp_path}/state\n[leases]\nbackend = local\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o1777)
    shown = dialogue(
        place,
        "nobody$ rhubarbe-leases",
        "nobody$ rhubarbe-book 2060-03-27T23:00 +5h",
        "nobody$ rhubarbe-book 2060-10-31T01:30 2060-10-31T03:30",
        "root$ rhubarbe-book 2060-03-28T04:00 +1h",
        "root$ rhubarbe-book 2060-03-28T05:00 08:00",
        "root$ rhubarbe-book 2060-03-28T05:00 +3h --slice nobody",
        "root$ rhubarbe-book 2060-04-01 2060-04-03T12:00 --slice nobody",
        "nobody$ rhubarbe-leases",
        "root$ rhubarbe-leases --after 2060-03-28T06:00 --before 2060-10-01",
        "root$ rhubarbe-book 2060-10-31T02:30+01:00 +1h --slice no-such-user",
        "nobody$ rhubarbe-book 2060-10-31T02:30+01:00 +1h --slice root",
        "nobody$ rhubarbe-book --delete 0.1",
        "nobody$ rhubarbe-book --delete 65534.1",
        "nobody$ rhubarbe-book --delete 65534.1",
        "nobody$ rhubarbe-leases --check",
        "root$ rhubarbe-leases --check",
        TZ="Europe/Paris",
    )
    assert_golden("leases/book", shown)


def test_what_is_no_time_is_one_line(tmp_path):
    place = Place(tmp_path)
    place.configure(f"[testbed]\nstate_dir = {tmp_path}/state\n[leases]\nbackend = local\n")
    shown = transcript(
        place,
        "rhubarbe-book soon +1h",
        "rhubarbe-book 25:00 +1h",
        "rhubarbe-book 2060-02-30 +1h",
        "rhubarbe-book now +5",
        "rhubarbe-book now now",
        "rhubarbe-book 2060-03-28T10:00 2060-03-28T09:00",
        "rhubarbe-book 2001-01-01 2060-01-01",
        "rhubarbe-book 2060-03-28T02:30 +1h",
        "rhubarbe-book 2060-10-31T02:30 +1h",
        "rhubarbe-book --delete 7",
        "sh -c 'rhubarbe-book now 2>&1 | tail -1'",
        "rhubarbe-leases --after soon",
        "rhubarbe-leases",
        TZ="Europe/Paris",
    )
    assert_golden("leases/no-time", shown)


def test_without_a_backend(tmp_path):
    place = Place(tmp_path)
    place.configure("")
    shown = transcript(place, "rhubarbe-leases", "rhubarbe-leases --check", "rhubarbe-book now +1h")
    assert_golden("leases/none", shown)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
def test_who_has_it_is_said_to_who_has_not(gateway):
    shown = dialogue(
        gateway.testbed,
        "nobody$ rhubarbe-reset 1",
        "root$ rhubarbe-book now +1h",
        "nobody$ rhubarbe-load -i sample 1-2",
        "nobody$ rhubarbe-save 1",
        "nobody$ rhubarbe-rescue --reset 1",
        "nobody$ rhubarbe-status 1",
    )
    shown = re.sub(r"DATE [A-Z]\S*", "DATE", without_times(shown))
    assert_golden("leases/refused", shown)
    assert gateway.is_untouched()


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


@pytest.mark.full
def test_nobody_removes_or_forges_the_lease_of_another(gateway):
    if os.getuid():
        pytest.skip("only root can be two users")
    assert gateway.run(0, "rhubarbe-book", "now", "+1h")[0] == 0
    state = gateway.testbed.directory / "state"
    kept = (state / "0" / "leases.sqlite").read_bytes()
    attacks = (
        f"rm {state}/0/leases.sqlite",
        f"mv {state}/0 {state}/gone",
        f"cp /dev/null {state}/0/leases.sqlite",
        "rhubarbe-book --delete 0.1",
        "rhubarbe-book --slice root tomorrow +1h",
        "rhubarbe-book now +1h",
    )
    for attack in attacks:
        code, told = gateway.run(NOBODY, "sh", "-c", attack)
        assert code != 0, (attack, told)
    assert (state / "0" / "leases.sqlite").read_bytes() == kept
    forge = f"mkdir {state}/5 && cp {state}/0/leases.sqlite {state}/5"
    assert gateway.run(NOBODY, "sh", "-c", forge)[0] == 0
    assert len(gateway.run(NOBODY, "rhubarbe-leases")[1].splitlines()) == 2
