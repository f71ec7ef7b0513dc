"""The power verbs as a user types them, with what is seen on the terminal.

Each test has nodes of its own, and leaves them as it found them.
"""

import json
import os
import shutil
import signal

import pytest
from emulated import events, start_testbed, wait_for_event
from golden import assert_golden, transcript

from rhubarbe.shared.claims import make_claim
from rhubarbe.shared.state import StateDirectory

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]

FAULTS = ("fit04:card-lies", "fit05:never-leaves", "fit07:card-silent", "fit08:card-dead")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Thirteen nodes, of which four have bad cards, and one a card with another number."""
    faults = [word for fault in FAULTS for word in ("--fault", fault)]
    testbed = start_testbed(
        tmp_path_factory.mktemp("power"),
        *("--node-numbers", "1-12,41", "--card", "fit41:15", "--boot-time", "0.5", *faults),
    )
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def orders(testbed, before):
    """Return what the cards were told since `before`, in words such as `fit01 card off`."""
    lines = testbed.log()[len(before) :].splitlines()
    return [" ".join(line.split()[-3:]) for line in lines if " card " in line]


def test_status(site):
    shown = transcript(
        site,
        "rhubarbe-status 3 6-8 41",
        "rhubarbe-status -v 3 6 41",
        "rhubarbe-status 3 41",
        "rhubarbe-status -t 0.5 7",
        "rhubarbe-status 99",
        "rhubarbe-status",
    )
    assert_golden("power/status", shown)


def test_info(site):
    shown = transcript(site, "rhubarbe-info 41 3", "rhubarbe-info 7")
    assert_golden("power/info", shown)


@pytest.mark.full
def test_usrp(site):
    shown = transcript(
        site,
        "rhubarbe-usrpon 9-10",
        "rhubarbe-usrpstatus 7 9-11",
        "rhubarbe-usrpoff 9-10",
        "rhubarbe-usrpstatus 9",
    )
    assert_golden("power/usrp", shown)


def test_off_and_on(site):
    shown = transcript(
        site,
        "rhubarbe-off 1 4 5 7",
        "rhubarbe-status 1",
        "rhubarbe-on -v 1 4",
        "rhubarbe-status 1",
        "rhubarbe-off -t 0.5 4",
    )
    assert_golden("power/off-and-on", shown)


def test_reset(site):
    shown = transcript(
        site,
        "rhubarbe-wait 2 6 4",
        "rhubarbe-off 2",
        "rhubarbe-reset 2 4 6 8",
        "rhubarbe-on 2",
    )
    assert_golden("power/reset", shown.partition("$ rhubarbe-off 2\n")[2])


def test_a_reset_is_a_new_boot(site):
    site.run("rhubarbe-wait", "6")
    before = site.log()
    assert site.run("rhubarbe-reset", "6").returncode == 0
    assert site.run("rhubarbe-wait", "6").returncode == 0
    assert orders(site, before) == ["fit06 card reset"]
    assert "fit06 boots disk" in site.log()[len(before) :]


def test_both_off_and_bye(site):
    shown = transcript(
        site,
        "rhubarbe-usrpon 10-11",
        "rhubarbe-bothoff 10",
        "rhubarbe-bye 7 10-11",
        "rhubarbe-status 10-11",
        "rhubarbe-usrpstatus 10-11",
        "rhubarbe-on 10-11",
    )
    assert_golden("power/bye", shown)


@pytest.mark.full
def test_bye_takes_all_that_is_in_scope(site):
    before = site.log()
    done = site.run("rhubarbe-bye", ALL_NODES="10-12", NODES="1")
    assert done.stderr.startswith("bye to everything: nodes 10-12, with their USRPs\n")
    assert set(orders(site, before)) == {f"fit{number} card off" for number in (10, 11, 12)}
    site.run("rhubarbe-on", "10-12")


def test_a_soft_off_shuts_down_first_and_ends_with_the_card(site):
    assert site.run("rhubarbe-wait", "12").returncode == 0
    before = site.log()
    done = site.run("rhubarbe-off", "--soft", "12")
    assert (done.returncode, done.stdout) == (0, "fit12: off\n")
    told = site.log()[len(before) :]
    assert 0 < told.find("fit12 shuts down") < told.find("fit12 card off")
    # What is off already, and lets nobody in, is switched off all the same.
    before = site.log()
    done = site.run("rhubarbe-off", "--soft", "12")
    assert (done.returncode, done.stdout) == (0, "fit12: off\n")
    assert orders(site, before) == ["fit12 card off"]
    site.run("rhubarbe-on", "12")


@pytest.mark.full
def test_a_soft_off_that_is_refused_still_ends_with_the_card(site):
    assert site.run("rhubarbe-wait", "12").returncode == 0
    conf = (site.directory / "rhubarbe.conf").read_text()
    stranger = site.directory / "stranger.conf"
    stranger.write_text(conf.replace("id_ed25519", "no_such_key"))
    stranger.chmod(0o600)
    before = site.log()
    done = site.run("rhubarbe-off", "--soft", "12", RHUBARBE_CONF=str(stranger))
    assert done.returncode == 0
    assert done.stdout.startswith("fit12: off (no soft shutdown: the ssh key ")
    assert orders(site, before) == ["fit12 card off"]
    assert "no soft shutdown: the ssh key" in (site.directory / "rhubarbe.log").read_text()
    site.run("rhubarbe-on", "12")


def test_events_for_programs(site):
    done = site.run("rhubarbe-status", "--json", "3", "7")
    assert done.returncode == 1
    told = events(done.stdout)
    answers = {event["node"]: event for event in told if event["event"] == "NodeAnswered"}
    assert (answers["fit03"]["text"], answers["fit03"]["ok"]) == ("on", True)
    assert (answers["fit07"]["text"], answers["fit07"]["ok"]) == ("no answer in 3 s", False)
    assert answers["fit07"]["card"] == "reboot07"
    assert told[-1]["event"] == "Finished"
    assert (told[-1]["good"], told[-1]["bad"]) == ("3", "7")


@pytest.mark.full
def test_a_node_that_another_command_works_on_is_left_alone(site):
    site.run("rhubarbe-usrpoff", "9")
    before = site.log()
    with make_claim(StateDirectory(site.directory / "state").key(), "node/fit09"):
        for verb in ("on", "off", "reset", "usrpon", "usrpoff", "bothoff", "bye"):
            done = site.run(f"rhubarbe-{verb}", "9", "10")
            assert (done.returncode, done.stdout) == (1, ""), verb
            assert f"(pid {os.getpid()}), which does not answer: nothing was touched" in done.stderr
        assert site.run("rhubarbe-status", "9").stdout == "fit09: on\n"
    assert orders(site, before) == []


def test_interrupted_it_says_what_was_not_done(site):
    running = site.start("rhubarbe-off", "--json", "4")
    with running:
        while wait_for_event(running, "NodeNoted")["text"] != "reboot04 says ok to off":
            pass
        running.send_signal(signal.SIGINT)
        finished = json.loads(running.stdout.read().splitlines()[-1])
    assert running.returncode == 1
    assert (finished["event"], finished["bad"]) == ("Finished", "4")
    assert finished["nodes"][0]["reason"] == "interrupted"


@pytest.mark.full
def test_orders_are_noted_in_the_history_and_questions_are_not(site):
    site.run("rhubarbe-usrpoff", "9")
    site.run("rhubarbe-status", "3")
    noted = json.loads(site.run("rhubarbe-history", "--json", "3", "9").stdout)
    assert [each["node"] for each in noted] == ["fit09"]
