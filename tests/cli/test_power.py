"""What the power verbs take, and what they import."""

import json
import subprocess
import sys

import pytest

from rhubarbe.cli import power
from rhubarbe.cli.arguments import make_parser
from rhubarbe.cli.dispatch import VERBS

POWER = [verb for verb, (module, _) in VERBS.items() if module == "power"]
ASKING = ("status", "info", "usrpstatus")


def parsed(verb, *words):
    return make_parser(f"rhubarbe-{verb}", power).parse_args(words)


@pytest.mark.parametrize("verb", POWER)
def test_each_verb_knows_what_it_is(verb):
    assert parsed(verb, "1").verb == verb
    assert power.WORDS[verb].split("\n")[0] in make_parser(f"rhubarbe-{verb}", power).format_help()


@pytest.mark.parametrize("verb", POWER)
def test_options_are_there_where_they_mean_something(verb):
    text = make_parser(f"rhubarbe-{verb}", power).format_help()
    assert ("--soft" in text) == (verb in ("off", "bothoff", "bye"))
    assert ("--wait-for-lock" in text) == (verb not in ASKING)


@pytest.mark.parametrize("verb", POWER)
def test_no_library_is_imported_but_the_one_for_cards(verb, tmp_path):
    """A node where nothing listens is all that is needed to run each verb in earnest."""
    interface = {"ip": "127.0.0.1", "mac": "02:00:00:00:00:01"}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(
        json.dumps([{name: interface | {"hostname": f"{name}1"} for name in ("control", "cmc")}])
    )
    conf = tmp_path / "site.conf"
    conf.write_text(
        f"[testbed]\nregularname = control\ninventory_path = {inventory}\n"
        f"state_dir = {tmp_path / 'state'}\n[networking]\ncmc_port = 1\n"
    )
    conf.chmod(0o600)
    check = (
        "import sys, rhubarbe.cli.dispatch as d\n"
        f"code = d.main(['rhubarbe-{verb}', '1'])\n"
        "print(code, *[m for m in ('asyncssh', 'telnetlib3', 'progressbar', 'curses')"
        " if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        env={"RHUBARBE_CONF": str(conf), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "cmc1: cannot be reached: Connection refused\n"
    assert done.stderr == "1\n"
