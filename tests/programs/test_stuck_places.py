"""A `config_dir` on a disk that never answers, as of a file server that is gone: nobody hangs."""

import json
import os
import sys
from pathlib import Path

import pytest
from emulated import start_testbed

pytestmark = [
    pytest.mark.testbed,
    pytest.mark.full,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.getuid() != 0 or not Path("/dev/fuse").exists(), reason="needs root, and FUSE"
    ),
]

STUCK = Path(__file__).with_name("stuck.py")


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    made = start_testbed(
        tmp_path_factory.mktemp("stuck"), *("--nodes", "3", "--boot-time", "2"), "--sample-size=4"
    )
    yield made
    made.end()


def run(testbed, word, *command):
    """Run a command for which `config_dir` is stuck, and return what it says."""
    links = testbed.directory / "pxelinux.cfg"
    done = testbed.run(sys.executable, STUCK, links, word, *command, within=120)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def link_of(testbed, rank):
    """Return the path of a node's nextboot link."""
    entry = json.loads((testbed.directory / "inventory.json").read_text())[rank]
    name = "01-" + entry["control"]["mac"].replace(":", "-").lower()
    return str(testbed.directory / "pxelinux.cfg" / name)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("load 1-3", "pxelinux.cfg: no answer in 10 s; nothing was touched"),
        ("rescue --list", "{link}: no answer in 10 s"),
        ("rescue --reset 1", "the nextboot link cannot be removed, do it by hand: no answer"),
        ("config --check-state", "pxelinux.cfg: no answer in 5 s"),
    ],
)
def test_what_needs_it_says_so(testbed, command, words):
    verb, *rest = command.split()
    done = run(testbed, "now", f"rhubarbe-{verb}", *rest)
    assert done.returncode == 1
    assert words.format(link=link_of(testbed, 0)) in done.stdout + done.stderr


def test_what_needs_no_link_goes_on(testbed):
    done = run(testbed, "now", "rhubarbe-wait", "1", "-t", "60")
    assert done.returncode == 0, done.stdout
    assert "pxelinux.cfg: no answer in 10 s: links left behind are not looked for" in done.stdout


def test_links_that_could_not_be_removed_are_swept_once_it_answers(testbed):
    done = run(testbed, link_of(testbed, 1), "rhubarbe-load", "1-3")
    assert done.returncode == 1
    assert "bad: 1-3\n" in done.stdout
    assert len(testbed.links()) >= 1
    swept = testbed.run("rhubarbe-wait", "1", "-t", "5")
    assert "removed the nextboot link of fit02, left behind by" in swept.stdout
    assert testbed.links() == []


def test_a_killed_command_s_children_end_all_the_same(testbed):
    """The guardian does not wait for its links: what it cannot see, it cannot remove."""
    code = (
        "import os, sys, subprocess\n"
        "from rhubarbe.gateway.processes import guardian_program\n"
        "child = subprocess.Popen(['sleep', '100'])\n"
        "with subprocess.Popen([sys.executable, '-I', '-S', guardian_program.__file__],"
        " stdin=subprocess.PIPE, cwd='/') as guardian:\n"
        "    start = guardian_program.start_of(str(child.pid))\n"
        "    record = ['link', sys.argv[1], 'x', 'child', str(child.pid), start]\n"
        "    guardian.stdin.write(b''.join(os.fsencode(each) + b'\\0' for each in record))\n"
        "    guardian.stdin.close()\n"
        "    print(child.wait(20))\n"
    )
    done = run(testbed, "now", sys.executable, "-c", code, link_of(testbed, 0))
    assert done.stdout == "-15\n", done.stderr
