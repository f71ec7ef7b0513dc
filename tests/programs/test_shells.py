"""The functions that keep $NODES, in the shells that people use."""

import shutil
from pathlib import Path

import pytest
from emulated import start_testbed
from golden import assert_golden

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]

FUNCTIONS = Path(__file__).parents[2] / "bin" / "rhubarbe.sh"
SHELLS = {"bash": ["bash", "--norc"], "zsh": ["zsh", "-f"]}
# In the order of a terminal: what is said, and what is printed.
LINES = """
all-nodes
echo $NODES
all-nodes '~4'
nodes
focus-nodes-on
echo $NODES
nodes 1-3 '~2'
add-nodes 2 4-5,6
echo $NODES
drop-nodes 1,3 5-6 fit04
echo $NODES
drop-nodes 2
echo $NODES
drop-nodes
add-nodes 99
add-nodes ubuntu
echo $NODES
focus-nodes-on 3
echo "none: <$NODES>"
nodes 2
focus-nodes-on 99
focus-nodes-on 3 4
echo "none: <$NODES>"
focus-nodes-on 1-4
nodes
""".strip().splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Six nodes: 3 is off, 4 has a silent card."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("shells"),
        *("--nodes", "6", "--boot-time", "0.5", "--fault", "fit04:card-silent"),
    )
    testbed.run("rhubarbe-off", "3")
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture(params=["bash", pytest.param("zsh", marks=pytest.mark.full)])
def shell(request):
    return SHELLS[request.param]


def test_a_session(site, shell):
    script = ["exec 2>&1", "set -u", f". {FUNCTIONS}"]
    for line in LINES:
        script += [f"cat <<'.'\n$ {line}\n.", f'{line} || echo "exit code: $?"']
    done = site.run(*shell, "-c", "\n".join(script))
    assert done.stderr == ""
    assert_golden("shell/session", done.stdout.replace(str(site.directory), "TESTBED"))


def test_nodes_that_are_on_get_loaded(site, shell):
    before = site.log()
    script = f". {FUNCTIONS}; all-nodes '~4'; focus-nodes-on; echo $NODES; rhubarbe-load"
    done = site.run(*shell, "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("fit01 fit02 fit05 fit06\n")
    assert "good: 1-2,5-6\n" in done.stdout
    assert "fit03 card" not in site.log()[len(before) :]


def test_nodes_survive_a_shell_that_stops_at_errors(site, shell):
    script = f"set -e; . {FUNCTIONS}; nodes 1 3 >/dev/null; focus-nodes-on; nodes"
    done = site.run(*shell, "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fit01\n", "")


@pytest.mark.full
def test_who_runs_it_instead_is_told(site):
    done = site.run(FUNCTIONS)
    assert done.stdout == f"to be sourced by bash or zsh, not run: . {FUNCTIONS}\n"
