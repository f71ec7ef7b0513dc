"""Each kind of power control against its real counterpart, good and with each of its faults.

From a shell, by `rhubarbe-load --wait` of two nodes: of a bad one beside a good one, the line says
what is wrong with it. The kinds have their turns side by side, each with nodes of its own.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from emulated import differing_blocks, events
from secrecy import (
    KINDS,
    LIMITS,
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

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(600)]

SILENCE = f"no answer in {LIMITS['cmc_default_timeout']} s to "
LIES = "says ok to reset and to off, but the node stays up"
# What is told of a control with a fault, by its kind: for `rest`, those that are not named.
BAD = {
    "card-silent": {"rest": SILENCE + "status", "wol": SILENCE + "reset"},
    "card-too-slow": {"rest": SILENCE + "status", "wol": SILENCE + "reset"},
    "card-lies": {"rest": LIES},
    "card-refuses": {
        "command": "ends status with status 1: card-refuses",
        "ipmi": "refuses status with the password of operator",
        "redfish": "refuses status to this user and password: HTTP status 401",
        "snmp": "refuses status: snmpget: Authentication failure",
        "wol": "cannot do reset: .*Permission denied",
    },
    "card-half": {
        "cmc": "answers status with 'o', expected on or off",
        "command": "answers status with 'o', expected on or off",
        "redfish": "hangs up before it has answered status",
        "ipmi": SILENCE + "status",
        "snmp": SILENCE + "status",
    },
}
# These are good all the same.
ODD = ("card-slow", "card-late")
ROWS = ("good", "good", *ODD, *BAD)
BY_HAND = "none"


def node(kind, row):
    """Return the number of the node of a kind in a row: each row has one of each."""
    return row * len(KINDS) + KINDS.index(kind) + 1


def name(kind, row):
    return f"fit{node(kind, row):02}"


def has(kind, fault):
    return fault in controls.named(kind).faults or fault in ("card-lies", "card-late")


def faults_of(kind):
    return [fault for fault in BAD if has(kind, fault)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    words = [
        word
        for row, fault in enumerate(ROWS)
        for kind in KINDS
        if fault != "good" and has(kind, fault)
        for word in ("--fault", f"{name(kind, row)}:{fault}")
    ]
    size = ("--nodes", str(len(ROWS) * len(KINDS)), "--sample-size", "4")
    with controlled(tmp_path_factory.mktemp("kinds"), *size, "--boot-time", "0.5", *words) as site:
        yield site


@pytest.fixture(scope="module")
def secrets(site):
    return secrets_in(site)


LOAD = ("rhubarbe-load", "--wait", "--retries", "0")


def loads_of(site, kind):
    """Load two nodes of a kind, again and again; return what is told, by what is wrong."""

    def load(*rows, options=()):
        nodes = [str(node(kind, row)) for row in rows]
        return site.run(*LOAD, *options, *nodes, within=200)

    off = site.run("rhubarbe-off", str(node(kind, 1)))
    told = {"off": off, "good": load(0, 1, options=("--json",))}
    told["odd"] = load(*map(ROWS.index, ODD))
    for fault in faults_of(kind):
        told[fault] = load(0, ROWS.index(fault))
    return told


def loads_by_hand(site):
    """Do so with two that people switch: they do what they are told, or one of them does not."""
    first, second = name("cmc", 0), name("cmc", 1)
    power = {"where": "first bench", "patience": 6}
    environ = switched_by_hand(site, **{first: power, second: power})
    words = (*LOAD, "--json", str(node("cmc", 0)), str(node("cmc", 1)))
    told = {"good": with_a_person(site, words, environ, [first, second])}
    told["nobody"] = with_a_person(site, words, environ, [first])
    return told


VERBS = {
    "rhubarbe-off": "off",
    "rhubarbe-status": "off",
    "rhubarbe-on": "on",
    "rhubarbe-status -v": "on",
    "rhubarbe-reset": "reset",
}
QUESTIONS = (
    "rhubarbe-config",
    "rhubarbe-inventory",
    "rhubarbe-history",
    "rhubarbe-status -a",
    "rhubarbe-status --json -a",
)


@pytest.fixture(scope="module")
def told(site, secrets):
    """All that is told, by kind and by what is wrong; and who saw a secret meanwhile."""
    with Watch(secrets, every_s=0.1) as watch, ThreadPoolExecutor(len(KINDS) + 1) as beside:
        running = {kind: beside.submit(loads_of, site, kind) for kind in KINDS}
        # By hand, the same nodes are switched as by cards, which are done by then.
        by_hand = beside.submit(lambda: running["cmc"].result() and loads_by_hand(site))
        by_kind = {kind: each.result() for kind, each in running.items()}
        by_kind[BY_HAND] = by_hand.result()
        good = [str(node(kind, row)) for row in (0, 1) for kind in KINDS]
        verbs = {verb: site.run(*verb.split(), *good, within=120) for verb in VERBS}
        lying = [str(node(kind, ROWS.index("card-lies"))) for kind in KINDS]
        verbs["lies"] = site.run("rhubarbe-off", *lying)
        asked = {words: beside.submit(site.run, *words.split()) for words in QUESTIONS}
        verbs |= {words: each.result() for words, each in asked.items()}
    return by_kind, verbs, watch


@pytest.mark.parametrize("kind", KINDS)
def test_two_good_ones_are_loaded_be_they_on_or_off(site, told, kind):
    done = told[0][kind]["good"]
    assert told[0][kind]["off"].stdout == f"{name(kind, 1)}: off\n"
    finished = events(done.stdout)[-1]
    assert (done.returncode, finished["bad"]) == (0, ""), finished
    for row in (0, 1):
        assert differing_blocks(site.disk(name(kind, row)), site.source) == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_slow_and_one_that_shows_what_was_before_are_good(told, kind):
    done = told[0][kind]["odd"]
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "fault"), [(kind, fault) for kind in KINDS for fault in faults_of(kind)]
)
def test_a_bad_one_beside_a_good_one_is_named_and_why(site, told, kind, fault):
    done = told[0][kind][fault]
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    good, bad = name(kind, 0), name(kind, ROWS.index(fault))
    assert re.search(rf"(?m)^{good} +ok ", said), said
    line = re.search(rf"(?m)^{bad} +FAILED .*\n +(.*)$", said)
    reason = BAD[fault].get(kind) or BAD[fault]["rest"]
    named = re.escape(names_of_controls(site)[bad])
    assert re.match(f"reset: power card {named} ({reason})", line[1]), line[1]


def test_a_person_is_told_and_who_does_not_come_is_named(told):
    (status, said, notices), (failed, told_then, _) = told[0][BY_HAND].values()
    words = "switch {} off and on again now (first bench)"
    assert status == 0, said
    both = [words.format(name("cmc", row)) for row in (0, 1)]
    assert sorted(notices) == sorted(both * 2)
    last = events(told_then)[-1]
    assert failed == 1
    assert [(each["ok"], each["reason"]) for each in last["nodes"]] == [
        (True, ""),
        (False, "was not seen to go away in 10 s"),
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_good_ones_obey_each_verb(told, verb):
    done = told[1][verb]
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.fullmatch(rf"([-0-9,a-z]+: {VERBS[verb]}\n)+", done.stdout), done.stdout


def test_of_a_bad_one_each_verb_tells_why(told):
    lies = told[1]["lies"].stdout
    assert "says ok to off, but that the node is on" in lies
    status = told[1]["rhubarbe-status -a"].stdout
    for words in (SILENCE.strip().removesuffix(" to"), "card-refuses", "HTTP status 401", "'o'"):
        assert words in status


def test_nobody_saw_a_secret(site, secrets, told):
    by_kind, verbs, watch = told
    said = {words: done.stdout + done.stderr for words, done in verbs.items()}
    for kind in KINDS:
        for case, done in by_kind[kind].items():
            said[kind, case] = done.stdout + done.stderr
    said |= {(BY_HAND, case): done[1] for case, done in by_kind[BY_HAND].items()}
    assert all(len(text) > 8 for text in said.values())
    assert shown_in(said, secrets) == []
    assert watch.looks > 100
    assert {"ipmitool", "snmpget"} & watch.programs
    assert watch.seen == set()
    found, looked_into = files_with(site, secrets)
    assert found == []
    assert "rhubarbe.log" in looked_into
    assert site.links() == []
