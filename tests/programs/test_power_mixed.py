"""Nodes that are switched in all ways that there are: who is bad is named, no secret is seen."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from emulated import differing_blocks, events
from secrecy import (
    KINDS,
    Watch,
    controlled,
    files_with,
    names_of_controls,
    secrets_in,
    shown_in,
    switched_by_hand,
    with_a_person,
)

from rhubarbe.testbed import controls

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(300)]

NODES = 12
# What is wrong with the controls of three nodes, where it can be: the first that their kind knows.
FAULTS = {
    2: ("card-refuses", "card-dead"),
    7: ("card-silent", "card-dead"),
    10: ("card-500", "card-dead"),
}
GOOD = "1,3-6,8-9,11-12"


@pytest.mark.parametrize("kind", controls.KINDS)
def test_the_kind_is_among_them(kind):
    if kind not in KINDS:
        pytest.skip(f"{kind}: what serves it is not installed")


def fault_of(number):
    possible = controls.named(KINDS[(number - 1) % len(KINDS)]).faults
    return next(fault for fault in FAULTS[number] if fault in possible)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Twelve nodes of all kinds, in turn, of which three have controls that do not even answer."""
    words = [
        word for number in FAULTS for word in ("--fault", f"fit{number:02}:{fault_of(number)}")
    ]
    options = ("--nodes", str(NODES), "--boot-time", "0.7", *words)
    with controlled(tmp_path_factory.mktemp("mixed"), *options) as site:
        yield site


@pytest.fixture(scope="module")
def secrets(site):
    """All secrets of the inventory, in clear, and as parts of a text in base64."""
    return secrets_in(site)


@pytest.fixture(scope="module")
def loaded(site, secrets):
    """What a load of all nodes says, and who saw a secret in a command line meanwhile."""
    with Watch(secrets) as watch:
        done = site.run(
            *("rhubarbe-load", "--json", "--wait", "--retries", "0", "--report", "report.json"),
            f"1-{NODES}",
            within=240,
        )
    return done, watch


def test_nine_are_good_and_three_are_named(site, loaded):
    done, _ = loaded
    assert done.returncode == 1
    finished = events(done.stdout)[-1]
    reasons = {each["node"]: each["reason"] for each in finished["nodes"] if each["reason"]}
    assert (finished["good"], finished["bad"]) == (GOOD, ",".join(map(str, FAULTS))), reasons
    names = names_of_controls(site)
    for result in finished["nodes"]:
        if result["ok"]:
            assert differing_blocks(site.disk(result["node"]), site.source) == []
        else:
            assert result["phase"] == "reset"
            assert result["reason"].startswith(f"power card {names[result['node']]} ")
    assert site.links() == []


def test_nobody_saw_a_secret_in_a_list_of_processes(loaded):
    _, watch = loaded
    assert watch.looks > 10
    assert "rhubarbe-load" in watch.programs or "python" in " ".join(watch.programs)
    assert watch.seen == set()


ORDERS = ["rhubarbe-off 1-4", "rhubarbe-on 1-4", "rhubarbe-reset 1-4"]
QUESTIONS = [
    "rhubarbe-status --json -a",
    "rhubarbe-info -a",
    "rhubarbe-nodes --on -a",
    "rhubarbe-config",
    "rhubarbe-inventory",
    "rhubarbe-inventory --check --online",
    "rhubarbe-history",
]


def traced(site, command):
    """Run a command; return what it says, and which programs it runs with which words."""
    trace = site.directory / "run" / command.replace(" ", "")
    strace = ("strace", "-f", "--seccomp-bpf", "-s4096", "-etrace=execve", "-o", trace)
    done = site.run(*strace, *command.split(), within=120)
    run = trace.read_text()
    assert command.split()[0] in run
    return done.stdout + done.stderr, run


def test_no_command_shows_a_secret_nor_runs_a_program_with_one(site, secrets, loaded):
    """By the word of strace, whom no program escapes, however short it runs."""
    with ThreadPoolExecutor(len(QUESTIONS)) as beside:  # most wait for one that is silent
        asked = {command: beside.submit(traced, site, command) for command in QUESTIONS}
        told = {command: traced(site, command) for command in ORDERS}
    told |= {command: each.result() for command, each in asked.items()}
    for command, (_, run) in told.items():
        assert not [secret for secret in secrets if secret in run], command
    said = {command: text for command, (text, _) in told.items()}
    said["load"] = loaded[0].stdout + loaded[0].stderr
    assert all(len(text) > 20 for text in said.values())
    assert shown_in(said, secrets) == []
    assert said["rhubarbe-inventory --check --online"].count("\n") == len(FAULTS)


def test_no_file_that_commands_leave_has_a_secret(site, secrets, loaded):
    """The log, the history, the report, whatever is in the directories that they write."""
    found, looked_into = files_with(site, secrets)
    assert found == []
    assert {"rhubarbe.log", "report.json"} <= looked_into


def test_a_person_loads_a_node(site):
    """Told when, in so many words, on the terminal as in JSON, who then sees to it."""
    environ = switched_by_hand(site, fit01={"where": "first bench", "patience": 60})
    load = ("rhubarbe-load", "--json", "--wait", "1")
    status, _, told = with_a_person(site, load, environ, ["fit01"])
    assert status == 0
    assert told == ["switch fit01 off and on again now (first bench)"] * 2
    status = site.run("rhubarbe-status", "1", **environ)
    assert (status.stdout, status.returncode) == ("fit01: unknown\n", 0)
