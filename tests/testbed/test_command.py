"""`rhubarbe-testbed` as a user runs it: what it says, how it ends, what it leaves."""

import configparser
import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "rhubarbe.testbed.command"]
QUICK = ["--boot-time", "0.05"]
BOUND = 60
MANY_BOUND = 60  # two hundred nodes, where other tests run beside


@pytest.fixture
def start(tmp_path, image):
    """Start the program; whatever is left of it at the end is killed."""
    running = []

    def start_one(*words, image=image, **options):
        given = ["--image", str(image)] if image else []
        running.append(
            subprocess.Popen(
                [*PROGRAM, *QUICK, *given, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                **{"cwd": tmp_path} | options,
            )
        )
        return running[-1]

    yield start_one
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def first_line(process, within=BOUND):
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(within), "it says nothing"
    return process.stdout.readline()


def ended(process):
    said = process.communicate(timeout=BOUND)
    return process.returncode, *said


def cards(directory):
    inventory = json.loads((directory / "inventory.json").read_text())
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(directory / "rhubarbe.conf")
    port = settings["networking"]["cmc_port"]
    return {
        entry["control"]["hostname"]: f"http://{entry['cmc']['ip']}:{port}" for entry in inventory
    }


def ask(card, verb):
    with urllib.request.urlopen(f"{card}/{verb}", timeout=BOUND) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_and_ends_cleanly(start, tmp_path, watch, number):
    directory = tmp_path / "site"
    process = start("--nodes", 3, "--directory", directory)
    assert first_line(process) == f"rhubarbe-testbed: 3 nodes serve in {directory}\n"
    assert {name: ask(card, "status") for name, card in cards(directory).items()} == {
        "fit01": "on\n",
        "fit02": "on\n",
        "fit03": "on\n",
    }
    process.send_signal(number)
    assert ended(process) == (0, "", "")
    assert watch.processes_in(directory) == []


def test_its_directory(start, tmp_path, image):
    directory = tmp_path / "site"
    process = start("--node-numbers", "1-2,41", "--card", "fit41:15", "--directory", directory)
    first_line(process)
    inventory = json.loads((directory / "inventory.json").read_text())
    assert [entry["control"]["hostname"] for entry in inventory] == ["fit01", "fit02", "fit41"]
    assert [entry["cmc"]["hostname"] for entry in inventory] == ["reboot01", "reboot02", "reboot15"]
    assert "node fit41\n" in ask(cards(directory)["fit41"], "info")
    text = (directory / "rhubarbe.conf").read_text()
    for line in ("all_scope = 1-2,41", "hard_drive = dev/sda", f"state_dir = {directory}/state"):
        assert line in text.splitlines()
    assert (directory / "images" / "default.ndz").readlink() == Path("sample.ndz")
    assert (directory / "images" / "sample.ndz").read_bytes() == image.read_bytes()
    assert (directory / "pxelinux.cfg" / "pxefrisbee").is_file()
    assert (directory / "nodes/fit41/dev/sda").resolve() == directory / "disks" / "fit41.img"
    assert (directory / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_the_sample_image_is_made_by_imagezip(start, tmp_path):
    directory = tmp_path / "site"
    process = start("--nodes", 1, "--sample-size", 2, "--directory", directory, image=None)
    first_line(process)
    image = directory / "images" / "sample.ndz"
    assert image.stat().st_size % (1 << 20) == 0
    assert image.stat().st_size > 2 << 20
    dump = [sys.executable, "-c", "from rhubarbe.imaging.imagedump import main; main()"]
    said = subprocess.run([*dump, image], capture_output=True, text=True, check=True, timeout=BOUND)
    assert f"{image}" in said.stdout


def test_a_command_runs_in_the_callers_directory_and_its_status_is_ours(start, tmp_path):
    script = 'echo "$PWD"; cat "$RHUBARBE_CONF" | head -1; command -v rhubarbe-testbed; exit 7'
    status, out, err = ended(start("--nodes", 1, "--", "sh", "-c", script))
    assert (status, err) == (7, "")
    where, conf, program = out.splitlines()
    assert where == str(tmp_path)
    assert conf.startswith("# An emulated testbed")
    assert Path(program).parent == Path(sys.executable).parent


def test_a_temporary_directory_is_gone_at_the_end(start):
    _, out, _ = ended(start("--nodes", 1, "--", "sh", "-c", 'echo "$RHUBARBE_CONF"'))
    directory = Path(out.strip()).parent
    assert directory.name.startswith("rhubarbe-testbed-")
    assert not directory.exists()


def test_a_given_directory_stays_and_can_be_used_again(start, tmp_path):
    directory = tmp_path / "site"
    for _ in range(2):
        assert ended(start("--nodes", 1, "--directory", directory, "--", "true"))[0] == 0
        assert (directory / "disks" / "fit01.img").exists()
        (directory / "images" / "mine.ndz").touch()
    assert (directory / "images" / "mine.ndz").exists()


def test_a_command_ended_by_a_signal_is_128_and_its_number(start):
    assert ended(start("--nodes", 1, "--", "sh", "-c", "kill -TERM $$"))[0] == 128 + 15


def test_a_command_that_is_not_there(start):
    status, out, err = ended(start("--nodes", 1, "--", "no-such-command"))
    assert (status, out) == (127, "")
    assert err == "rhubarbe-testbed: cannot run no-such-command: No such file or directory\n"


def test_the_terminals_interrupt_is_the_commands_business(start):
    script = "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    process = start("--nodes", 1, "--", "bash", "-c", script)
    assert first_line(process) == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert ended(process) == (5, "interrupted\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_are_passed_on_to_the_command(start, number):
    script = f"trap 'echo told; exit 6' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    process = start("--nodes", 1, "--", "bash", "-c", script)
    assert first_line(process) == "ready\n"
    process.send_signal(number)
    assert ended(process) == (6, "told\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "1"], "name a --directory, or a command after --"),
        (["--fault", "fit01:rust", "--", "true"], "unknown fault 'rust'"),
        (["--fault", "fit77:card-500", "--", "true"], "fit77, which is not in this testbed"),
        (["--node-numbers", "1-x", "--", "true"], "not of the form 1-10,41"),
        (["--node-numbers", "1-" + "9" * 5000, "--", "true"], "not of the form 1-10,41"),
        (["--node-numbers", "1-99999999999", "--", "true"], "not of the form 1-10,41"),
        (["--card", "fit1:" + "9" * 5000, "--", "true"], "not of the form fit41:15"),
        (["--card", "fit77:3", "--", "true"], "fit77 has a card but is not in this testbed"),
        (["--card", "fit01", "--", "true"], "not of the form fit41:15"),
    ],
)
def test_words_that_mean_nothing_are_refused_in_one_line(start, words, said):
    status, out, err = ended(start(*words))
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_directory_of_somebody_else_is_left_alone(start, tmp_path):
    (tmp_path / "letter").write_text("dear")
    status, _, err = ended(start("--nodes", 1, "--directory", tmp_path))
    assert status == 1
    assert "is not empty and not a testbed's" in err
    assert {path.name for path in tmp_path.iterdir()} == {"letter", "given.ndz"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_a_directory_where_nothing_can_be_run_is_refused(start, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    within = f"mount -t tmpfs -o noexec tmpfs {there} && exec $*"
    process = subprocess.run(
        ["unshare", "-m", "sh", "-c", within, "sh", *PROGRAM, "--nodes", "1", "--", "true"],
        env=os.environ | {"TMPDIR": str(there)},
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert process.returncode == 1
    assert "(noexec): name another --directory, or $TMPDIR" in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("files", [9, 12, 16])
def test_too_few_open_files_are_one_line(start, files):
    limited = start(
        *("--nodes", 30, "--", "true"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )
    status, _, err = ended(limited)
    assert (status, err.count("\n"), "Too many open files" in err) == (1, 1, True), err


def test_two_testbeds_at_once_but_not_in_one_directory(start, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        first_line(start("--nodes", 2, "--directory", directory))
    assert ask(cards(first)["fit01"], "off") == "ok\n"
    assert ask(cards(first)["fit01"], "status") == "off\n"
    assert ask(cards(second)["fit01"], "status") == "on\n"
    status, _, err = ended(start("--nodes", 2, "--directory", first))
    assert (status, "another testbed runs in" in err) == (1, True)
    assert ask(cards(first)["fit02"], "status") == "on\n"


async def test_an_interrupt_while_it_starts_ends_it(start, tmp_path, watch):
    directory = tmp_path / "site"
    process = start("--nodes", 1, "--boot-time", 600, "--directory", directory)
    conf = directory / "rhubarbe.conf"
    await watch.until(conf.exists)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, "", "")
    assert watch.processes_in(directory) == []


@pytest.mark.full
def test_two_hundred_nodes(start, tmp_path):
    directory = tmp_path / "site"
    process = start("--nodes", 200, "--boot-time", 1, "--directory", directory)
    assert first_line(process, MANY_BOUND).startswith("rhubarbe-testbed: 200 nodes serve")
    assert ask(cards(directory)["fit200"], "status") == "on\n"
    assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) < 8
    assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 3 * 200
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
