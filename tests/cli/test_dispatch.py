"""Which verb is run, what is said of the others, and what each way of ending looks like."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rhubarbe.cli import dispatch
from rhubarbe.cli.arguments import make_parser
from rhubarbe.cli.dispatch import ANNEXES, VERBS, main

ROOT = Path(__file__).parents[2]
REQUIRED = {
    "save": ["1"],
    "pdu": ["list"],
    "resolve": ["x"],
    "share": ["x"],
    "sync": ["--pull", "host"],
    "completion": ["bash"],
}
HEAVY = ("aiohttp", "asyncssh", "telnetlib3", "progressbar", "curses")


def configure(conf, inventory):
    conf.write_text(
        f"[testbed]\ninventory_path = {inventory}\n[frisbee]\nimages_dir = {conf.parent}\n"
    )


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """No configuration but an inventory of four nodes; a directory of its own."""
    for name in ("NODES", "ALL_NODES"):
        monkeypatch.delenv(name, raising=False)
    conf = tmp_path / "site.conf"
    inventory = ROOT / "inventory.json.sample"
    conf.write_text(
        f"[testbed]\ninventory_path = {inventory}\n[frisbee]\nimages_dir = {tmp_path}\n"
    )
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Record which verb is run, with which words, instead of running it."""
    calls = []
    monkeypatch.setattr(dispatch, "_run", lambda verb, words: calls.append((verb, words)) or 0)
    return calls


@pytest.mark.parametrize(
    ("argv", "verb", "words"),
    [
        (["rhubarbe-load", "1-3"], "load", ["1-3"]),
        (["/usr/local/bin/rhubarbe-wait", "-a"], "wait", ["-a"]),
        (["rhubarbe-main.py", "load", "1", "load"], "load", ["1", "load"]),
        (["bin/rhubarbe-main.py", "images"], "images", []),
        (["__main__.py", "nodes", "save"], "nodes", ["save"]),
        (["rhubarbe-list"], "list", []),
        (["rhubarbe-load", "wait"], "load", ["wait"]),
        (["rhubarbe", "load", "1"], "load", ["1"]),
        (["/opt/rhubarbe/bin/rhubarbe", "wait", "-a"], "wait", ["-a"]),
        (["rhubarbe", "lo", "1"], "load", ["1"]),
        (["rhubarbe-main.py", "im"], "images", []),
        (["rhubarbe", "sta"], "status", []),
        (["rhubarbe", "on"], "on", []),
        (["rhubarbe", "rese", "re"], "reset", ["re"]),
        (["rhubarbe", "--version"], "version", []),
    ],
)
def test_the_name_says_the_verb_or_else_the_first_word(asked, argv, verb, words):
    assert main(argv) == 0
    assert asked == [(verb, words)]


@pytest.mark.parametrize("name", ["rhubarbe", "rhubarbe-main.py"])
def test_without_a_verb_all_are_listed(asked, name, capsys):
    assert main([name]) == 2
    assert asked == []
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: rhubarbe VERB")
    assert all(f"\n  {verb} " in shown.err for verb in (*VERBS, *ANNEXES))
    assert shown.err.splitlines()[-1] == f"{name}: no verb was given"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["rhubarbe", "re"], "'re' may be reset, rescue or resolve"),
        (["rhubarbe-main.py", "o"], "'o' may be on or off"),
        (["rhubarbe", "usrp"], "'usrp' may be usrpstatus, usrpon or usrpoff"),
        (["rhubarbe-main.py", "loads"], "'loads' is no verb; did you mean load?"),
        (["rhubarbe", "laod", "1"], "'laod' is no verb; did you mean load?"),
        (["rhubarbe", "LOAD"], "'LOAD' is no verb; did you mean load?"),
        (["rhubarbe-main.py", "rhubarbe-load"], "'rhubarbe-load' is no verb; did you mean load?"),
        (["rhubarbe-main.py", "--load"], "'--load' is no verb; did you mean load?"),
        (["rhubarbe", "frisb"], "'frisb' is no verb; did you mean frisbeed or frisbee?"),
        (["rhubarbe", "imagez"], "'imagez' is no verb; did you mean imagezip?"),
        (["rhubarbe-main.py", "", "load"], "'' is no verb; rhubarbe help lists them"),
        (["rhubarbe", "xyzzy"], "'xyzzy' is no verb; rhubarbe help lists them"),
        (["rhubarbe", "a\nb\x1b[1m"], "is no verb; rhubarbe help lists them"),
        (["rhubarbe-loads", "1"], "'loads' is no verb; did you mean load?"),
        (["rhubarbe-lo", "1"], "'lo' is no verb; did you mean load?"),
        (["rhubarbe-x-load", "1"], "is no verb; did you mean load?"),
        (["x-load", "1"], "is no verb; did you mean load?"),
        (["rhubarbe-load.py", "1"], "is no verb; did you mean load?"),
        (["rhubarbe-Load", "1"], "'Load' is no verb; did you mean load?"),
    ],
)
def test_what_is_no_verb_is_told_in_a_line_with_the_near_ones(asked, argv, words, capsys):
    assert main(argv) == 2
    assert asked == []
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(rf"{re.escape(argv[0])}: [ -~]*{re.escape(words)}\n", shown.err)


def test_each_beginning_of_a_verb_is_that_verb_or_told_with_all_that_it_may_be(asked, capsys):
    for verb in VERBS:
        for length in range(1, len(verb)):
            word = verb[:length]
            meant = [each for each in VERBS if each.startswith(word)]
            if word in VERBS:
                continue
            asked.clear()
            assert main(["rhubarbe", word]) == (0 if len(meant) == 1 else 2)
            assert asked == ([(verb, [])] if len(meant) == 1 else [])
            told = capsys.readouterr().err
            assert all(each in told for each in meant[1:])


def test_help_of_a_verb_is_its_help(capsys):
    assert main(["rhubarbe", "help"]) == 0
    assert capsys.readouterr().out.startswith("usage: rhubarbe VERB")
    assert leaving(["rhubarbe", "help", "wai"]) == 0
    assert capsys.readouterr().out.startswith("usage: rhubarbe-wait")
    assert main(["rhubarbe-help", "wiat"]) == 2
    assert capsys.readouterr().err == "rhubarbe-help: 'wiat' is no verb; did you mean wait?\n"


@pytest.mark.parametrize("annexe", ANNEXES)
def test_an_annexe_is_the_program_of_its_name(annexe):
    words = [ROOT / "bin" / "rhubarbe", "help", annexe]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower().startswith(("usage: " + annexe, "usage: rhubarbe-" + annexe))


def test_an_annexe_gets_its_words_as_they_are():
    done = subprocess.run(
        [ROOT / "bin" / "rhubarbe", "imagedump", "--json", "/no such"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "/no such" in done.stderr + done.stdout


def test_an_annexe_that_is_not_there_is_told(tmp_path):
    alone = tmp_path / "rhubarbe"
    alone.write_text((ROOT / "bin" / "rhubarbe").read_text())
    done = subprocess.run(
        [sys.executable, alone, "imagezip", "x"],
        env={"PATH": "/nowhere", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "rhubarbe: rhubarbe-imagezip: no such program beside rhubarbe, nor in $PATH\n"
    )


def test_the_list_of_verbs_is_help_when_asked_for(capsys):
    assert main(["rhubarbe-main.py", "--help"]) == 0
    assert "\n  save " in capsys.readouterr().out


def test_each_verb_has_a_link_in_bin():
    links = [path for path in (ROOT / "bin").iterdir() if path.is_symlink()]
    verbs = {path.name.removeprefix("rhubarbe-") for path in links}
    assert verbs == {*VERBS, "rhubarbe"}
    programs = {path.name.removeprefix("rhubarbe-") for path in (ROOT / "bin").iterdir()}
    assert programs - verbs == {*ANNEXES, "main.py", "rhubarbe.sh"}
    assert {str(path.readlink()) for path in links} == {"rhubarbe-main.py"}


def leaving(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_everything_with_an_example(verb, capsys):
    assert leaving([f"rhubarbe-{verb}", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: rhubarbe-{verb}")
    found = re.search(r"example:\n +(.*)", shown)
    assert found
    assert "rhubarbe-" in found[1]


@pytest.mark.parametrize("verb", VERBS)
def test_each_argument_has_words(verb):
    module = importlib.import_module(f"rhubarbe.cli.{VERBS[verb][0]}")
    actions = make_parser(f"rhubarbe-{verb}", module)._actions
    assert [action.dest for action in actions if not action.help] == []


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_says_the_version(verb, capsys):
    assert leaving([f"rhubarbe-{verb}", "--version"]) == 0
    version = (ROOT / "rhubarbe" / "VERSION").read_text().strip()
    assert capsys.readouterr().out == f"rhubarbe {version}\n"
    assert main(["rhubarbe-main.py", "--version"]) == 0
    assert capsys.readouterr().out == f"rhubarbe {version}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_an_option_that_is_none_is_a_usage_error(verb, capsys):
    assert leaving([f"rhubarbe-{verb}", *REQUIRED.get(verb, []), "--frobnicate"]) == 2
    assert "--frobnicate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["load", "-t", "soon", "1"],
        ["load", "-t", "0", "1"],
        ["load", "-t", "inf", "1"],
        ["load", "-b", "0", "1"],
        ["load", "-b", "1.5", "1"],
        ["load", "-c", "--json", "1"],
        ["wait", "-b", "-1", "1"],
        ["save"],
        ["save", "1", "2"],
    ],
    ids=" ".join,
)
def test_a_bad_value_is_a_usage_error(argv, capsys):
    assert leaving([f"rhubarbe-{argv[0]}", *argv[1:]]) == 2
    assert capsys.readouterr().err.startswith("usage:")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["load", "-i", "nothing", "1"], "nothing: no such image"),
        (["load", "ubuntu", "1-3"], "is -i missing"),
        (["load", "-i", "x.ndz.partial", "1"], "a partial image"),
        (["wait", "1", "15-18"], "not in the inventory: 15-18"),
        (["wait"], "no node is selected"),
        (["nodes", "12-1"], "write 1-12"),
        (["save", "1,2"], "one is saved at a time"),
        (["save", "1", "-o", "a/b"], "no such directory"),
        (["config", "nowhere"], "no section 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line(argv, says, capsys):
    assert main([f"rhubarbe-{argv[0]}", *argv[1:]]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(rf"rhubarbe-{argv[0]}: [^\n]*{re.escape(says)}[^\n]*\n", shown.err)


def test_an_error_in_the_configuration_or_the_inventory_is_one_line(site, capsys):
    (site / "site.conf").write_text("[networking]\nbandwidth = fast\n")
    assert main(["rhubarbe-load", "1"]) == 1
    assert re.fullmatch(r"rhubarbe-load: .*bandwidth.*'fast'.*\n", capsys.readouterr().err)
    (site / "broken.json").write_text("[\n{\n")
    configure(site / "site.conf", site / "broken.json")
    assert main(["rhubarbe-nodes", "1"]) == 1
    assert re.fullmatch(r"rhubarbe-nodes: .*line 3.*not JSON.*\n", capsys.readouterr().err)


def test_an_interrupt_before_anything_runs_is_one_line(monkeypatch, capsys):
    from rhubarbe.cli import nodes

    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(nodes, "run", interrupted)
    assert main(["rhubarbe-nodes", "1"]) == 1
    assert capsys.readouterr().err == "rhubarbe-nodes: interrupted\n"


def test_help_imports_no_library():
    check = (
        "import sys, rhubarbe.cli.dispatch as d\n"
        "for verb in d.VERBS:\n"
        "    try: d.main(['rhubarbe-' + verb, '--help'])\n"
        "    except SystemExit: pass\n"
        f"    print(verb, *[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stderr.split() == list(VERBS)
    assert done.stdout.count("usage: rhubarbe-") == len(VERBS)


# What is dear to import; in the standard library, that is also this.
DEAR = (*HEAVY, "asyncio", "sqlite3", "ssl", "subprocess")


@pytest.mark.skipif(
    "COVERAGE_PROCESS_CONFIG" in os.environ, reason="what measures coverage imports more"
)
@pytest.mark.parametrize(
    ("line", "needs"),
    [
        ("nodes 1-3", ""),
        ("nodes --fold 1-3", ""),
        ("nodes --image none 1-3", "sqlite3"),
        ("config", ""),
        ("config --template", ""),
        ("inventory", ""),
        ("inventory --check", "asyncio ssl subprocess"),
        ("inventory --template", ""),
        ("images", ""),
        ("images --long", ""),
        ("list --by-date", ""),
        ("resolve mine", ""),
        ("share --dry-run mine", ""),
        ("leases", ""),
        ("rescue --list", ""),
        ("completion nodes", ""),
        ("completion images", ""),
        ("history", "sqlite3"),
    ],
)
def test_verbs_that_only_tell_import_what_they_need(line, needs, site):
    (site / "mine.ndz").touch()
    verb, *words = line.split()
    check = (
        "import sys, rhubarbe.cli.dispatch as d\n"
        f"d.main(['rhubarbe-{verb}', *{words}])\n"
        f"print(*[m for m in {DEAR} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stderr.count("\n") == 1
    assert set(done.stderr.split()) <= set(needs.split())
    assert done.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_who_stops_reading_is_no_reason_for_a_traceback(unbuffered):
    readable, writable = os.pipe()
    os.close(readable)
    try:
        done = subprocess.run(
            [sys.executable, ROOT / "bin" / "rhubarbe-config"],
            stdout=writable,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        os.close(writable)
    assert (done.returncode, done.stderr) == (1, "")


def test_run_by_the_name_of_a_link(tmp_path):
    (tmp_path / "rhubarbe-nodes").symlink_to(ROOT / "bin" / "rhubarbe-main.py")
    done = subprocess.run(
        [sys.executable, tmp_path / "rhubarbe-nodes", "1-3,41", "~2"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stdout == "fit01 fit03 fit41\n"


def test_options_stand_between_names_and_none_stands_behind_a_double_dash(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("-x", "one", "two"):
        (tmp_path / f"{name}.ndz").touch()
    assert main(["rhubarbe-resolve", "one", "-r", "two"]) == 0
    assert main(["rhubarbe-resolve", "-r", "--", "-x"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert found == [str(tmp_path / f"{name}.ndz") for name in ("one", "two", "-x")]
