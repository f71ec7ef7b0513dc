"""Nodes that are switched in all ways that there are: who is bad is named, no secret is seen."""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulated import differing_blocks, events, start_testbed

from rhubarbe.annexe.errors import MissingProgram
from rhubarbe.config import Settings
from rhubarbe.inventory import load_inventory
from rhubarbe.node import Doors
from rhubarbe.node.secrets import secrets_of
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
SHORTEST = 6
# Some start a program for each answer, and this machine may have much else to do.
LIMITS = {"cmc_default_timeout": 10, "reset_timeout": 60}
# What the testbed itself keeps, and what nodes have.
NOT_OURS = ("run", "disks", "images", "nodes")


def can_be_served(kind):
    with contextlib.suppress(MissingProgram):
        controls.named(kind).check()
        return True
    return False


KINDS = [kind for kind in controls.KINDS if can_be_served(kind)]


@pytest.mark.parametrize("kind", controls.KINDS)
def test_the_kind_is_among_them(kind):
    if kind not in KINDS:
        pytest.skip(f"{kind}: what serves it is not installed")


def fault_of(number):
    possible = controls.named(KINDS[(number - 1) % len(KINDS)]).faults
    return next(fault for fault in FAULTS[number] if fault in possible)


class Watch:
    """Looks for some words in the command lines of all processes, for as long as it is entered."""

    def __init__(self, words):
        self._words = [word.encode() for word in words]
        self._over = threading.Event()
        self.looks = 0
        self.programs = set()
        self.seen = set()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.wait(0.002):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    line = path.read_bytes()
                    self.programs.add(Path(line.partition(b"\0")[0].decode(errors="replace")).name)
                    self.seen.update(line for word in self._words if word in line)


def site_inventory(site):
    return load_inventory(site.directory / "inventory.json")


def patient(conf):
    """Give the nodes of a configuration more time."""
    limits = "".join(f"{name} = {seconds}\n" for name, seconds in LIMITS.items())
    others = re.sub(rf"(?m)^({'|'.join(LIMITS)}) = .*\n", "", conf.read_text())
    conf.write_text(others.replace("[nodes]\n", f"[nodes]\n{limits}"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Twelve nodes of all kinds, in turn, of which three have controls that do not even answer."""
    words = [
        word for number in FAULTS for word in ("--fault", f"fit{number:02}:{fault_of(number)}")
    ]
    testbed = start_testbed(
        tmp_path_factory.mktemp("mixed"),
        *("--nodes", str(NODES), "--boot-time", "0.7", "--power", ",".join(KINDS), *words),
    )
    patient(testbed.directory / "rhubarbe.conf")
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def secrets(site):
    """All secrets of the inventory, in clear, and as parts of a text in base64."""
    found = set()
    for entry in site_inventory(site):
        for _, secret in secrets_of(entry):
            found.add(asyncio.run(secret.reveal()))
    assert all(len(each) >= SHORTEST for each in found), "too short to be looked for"
    return sorted(found | {form for each in found for form in in_base64(each)})


def in_base64(secret):
    """Yield what a text in base64 has of a secret, wherever that begins in it."""
    for before in range(3):
        code = base64.b64encode(b"-" * before + secret.encode())
        yield code[4 if before else 0 : len(code) // 4 * 4 - 4].decode()


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
    names = (Doors(Settings()).power(entry).name for entry in site_inventory(site))
    for result, name in zip(finished["nodes"], names, strict=True):
        if result["ok"]:
            assert differing_blocks(site.disk(result["node"]), site.source) == []
        else:
            assert result["phase"] == "reset"
            assert result["reason"].startswith(f"power card {name} "), result["reason"]
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
    shown = [(who, secret) for who, text in said.items() for secret in secrets if secret in text]
    assert shown == []
    assert said["rhubarbe-inventory --check --online"].count("\n") == len(FAULTS)


def test_no_file_that_commands_leave_has_a_secret(site, secrets, loaded):
    """The log, the history, the report, whatever is in the directories that they write."""
    kept = {site.directory / "inventory.json"}
    for entry in site_inventory(site):
        kept.update(Path(secret.words[0]) for _, secret in secrets_of(entry))
    looked_at = []
    for path in site.directory.rglob("*"):
        place = path.relative_to(site.directory).parts[0]
        if path.is_file() and place not in NOT_OURS and path not in kept:
            content = path.read_bytes()
            looked_at.append(path.name)
            assert not [each for each in secrets if each.encode() in content], path
    assert {"rhubarbe.log", "report.json"} <= set(looked_at)


def test_a_person_loads_a_node(site):
    """Told when, in so many words, on the terminal as in JSON, who then sees to it."""
    entries = json.loads((site.directory / "inventory.json").read_text())
    entries[0]["power"] = {"kind": "none", "where": "first bench", "patience": 60}
    (site.directory / "by_hand.json").write_text(json.dumps(entries))
    conf = (site.directory / "rhubarbe.conf").read_text()
    other = site.directory / "by_hand.conf"
    other.write_text(conf.replace("/inventory.json", "/by_hand.json"))
    other.chmod(0o600)
    environ = {"RHUBARBE_CONF": str(other)}
    told = []
    load = ("rhubarbe-load", "--json", "--wait", "1")
    with site.start(*load, environ=environ, stderr=None) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "Notice" and "switch" in event["text"]:
                told.append(event["text"])
                site.ask_card("fit01", "reset")
    assert process.returncode == 0
    assert told == ["switch fit01 off and on again now (first bench)"] * 2
    status = site.run("rhubarbe-status", "1", RHUBARBE_CONF=str(other))
    assert (status.stdout, status.returncode) == ("fit01: unknown\n", 0)
