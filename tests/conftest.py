"""What all tests share: the --full option, and the rule that a full run skips nothing unlisted."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rhubarbe import text, writers

# How fast this machine is today is not what the tests are about.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# What these assert is told in full.
pytest.register_assert_rewrite("emulated", "golden")

# Under nohup, or in the background of a script, all programs would ignore one of them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nor do users have their commands write each piece of a line at once.
os.environ.pop("PYTHONUNBUFFERED", None)

HERE = Path(__file__).parent
LISTED = HERE / "skips"

FULL_RUN_BYTES = 8 << 30
"""What the disks of a full run, side by side, may take in the directory for temporary files."""


@pytest.fixture(autouse=True)
def _signals_are_handled_as_before():
    """Undo what a program that ran in this process left: it counted on its end with the process."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _nothing_is_hidden():
    """Forget which secrets tests before told: their words may be in what this one expects."""
    before, text._hidden = text._hidden, set()
    yield
    text._hidden = before


GETENT = """#!/bin/sh
# As the real one: all users, or all groups; or the group of a number, listed or not.
cd "${0%/*}" || exit
[ $# = 2 ] || exec cat "$1"
grep -h "^[^:]*:[^:]*:$2:" group unlisted || exit 2
"""


@pytest.fixture
def accounts(tmp_path_factory, monkeypatch):
    """Say which users and groups the system has, by what its `getent` prints."""
    place = tmp_path_factory.mktemp("accounts")
    (place / "getent").write_text(GETENT)
    (place / "getent").chmod(0o755)
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)

    def have(users, groups, unlisted=()):
        for name, lines in (("passwd", users), ("group", groups), ("unlisted", unlisted)):
            (place / name).write_text("".join(f"{line}\n" for line in lines))
        writers.private_group.cache_clear()
        return place / "getent"

    yield have
    writers.private_group.cache_clear()


@pytest.fixture
def in_a_group_of_many(accounts):
    """Our files are of a group that another is in, too."""
    me, gid = os.getuid(), os.getegid()
    accounts([f"me:x:{me}:{gid}::/:/bin/sh", "bob:x:4002:4002::/:/bin/sh"], [f"me:x:{gid}:bob"])


@pytest.fixture
def in_a_group_of_ours(accounts):
    """Our files are of a group that nobody else is in, as Debian makes one for each user."""
    me, gid = os.getuid(), os.getegid()
    accounts([f"me:x:{me}:{gid}::/:/bin/sh"], [f"me:x:{gid}:"])


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="run also the tests that take long, or need root and Debian packages",
    )


def pytest_sessionstart(session):
    """Say that there is too little room, rather than let whatever comes next fail of it."""
    directory = tempfile.gettempdir()
    if session.config.getoption("--full") and not hasattr(session.config, "workerinput"):
        free = shutil.disk_usage(directory).free
        if free < FULL_RUN_BYTES:
            pytest.exit(f"{directory}: {free >> 30} GiB free, a full run needs 8", returncode=1)


LONGEST = {"test_true_disks.py", "test_true_tables.py", "test_fitting.py"}
"""Files of tests that take minutes though they wait for nothing."""


def _waits(item):
    return item.get_closest_marker("testbed") is not None


def pytest_collection_modifyitems(config, items):
    # Those that wait for testbeds first: where files are shared out, a long one is not the last.
    items.sort(key=lambda item: item.path.name not in LONGEST and not _waits(item))
    if config.getoption("--full"):
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="takes long or needs packages: --full"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail a full run as root that skipped a test which tests/skips does not list."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_worker = hasattr(session.config, "workerinput")
    if is_worker or reporter is None or os.getuid() or not session.config.getoption("--full"):
        return
    listed = {
        line.partition("#")[0].strip() for line in LISTED.read_text().splitlines() if line.strip()
    }
    unlisted = [
        report.nodeid
        for report in reporter.stats.get("skipped", [])
        if report.nodeid.partition("[")[0] not in listed
    ]
    if unlisted:
        reporter.write_line(f"skipped, and not listed in {LISTED.name}: {', '.join(unlisted)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Print what became of each kind of disk, if tests of tests/imaging tried that."""
    from proving.report import rows_of, table

    done = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    if lines := table(rows_of(done)):
        terminalreporter.section("kinds of disks: what was restored")
        for line in lines:
            terminalreporter.write_line(line)
