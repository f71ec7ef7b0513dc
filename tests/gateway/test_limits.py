"""Whether so many files may be open; what is not enough is this machine's fault, and no node's."""

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import threading

import pytest
from emulated import Place

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.checks.limits import OF_A_COMMAND, TO_ASK, TO_WORK, require_room


@contextlib.contextmanager
def limited(soft):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(("nodes", "for_each"), [(20, TO_WORK), (60, TO_ASK), (1, TO_WORK)])
def test_what_fits_is_let_in_and_no_more(nodes, for_each):
    enough = OF_A_COMMAND + nodes * for_each
    with limited(enough):
        require_room(nodes, for_each)
    with limited(enough - 1), pytest.raises(GatewayError) as refused:
        require_room(nodes, for_each)
    assert f"{enough} open files are needed" in str(refused.value)
    assert (f"at most {nodes - 1} nodes" in str(refused.value)) == (nodes > 1)


NODES = 150


def inventory():
    return [
        {
            "control": {
                "hostname": f"n{number}",
                "ip": f"127.82.0.{number}",
                "mac": f"02:00:00:00:00:{number:02x}",
            },
            "cmc": {"hostname": f"r{number}", "ip": f"127.83.0.{number}", "mac": ""},
        }
        for number in range(1, NODES + 1)
    ]


@pytest.fixture
def cards():
    """Cards of all nodes, which answer no sooner than they were all asked; their TCP port."""
    asked = threading.Barrier(NODES)
    with socket.create_server(("0.0.0.0", 0), backlog=NODES) as server:

        def answer(connection):
            with connection, contextlib.suppress(OSError, threading.BrokenBarrierError):
                connection.recv(4096)
                asked.wait(30)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\non\n")

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=[connection], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        asked.abort()
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def place(tmp_path, cards):
    (tmp_path / "inventory.json").write_text(json.dumps(inventory()))
    place = Place(tmp_path)
    place.configure(
        f"[testbed]\nall_scope = 1-{NODES}\ninventory_path = {tmp_path}/inventory.json\n"
        f"state_dir = {tmp_path}/state\n[networking]\ncmc_port = {cards}\n"
        f"[pxelinux]\nconfig_dir = {tmp_path}/boot\n[nodes]\ncmc_default_timeout = 40\n"
    )
    (tmp_path / "boot").mkdir()
    return place


def ask(place, limit, *words):
    line = f'ulimit {limit} && exec "$@"'
    return place.run("bash", "-c", line, "-", *words)


def test_a_low_soft_limit_is_no_limit(place):
    done = ask(place, "-Sn 64", "rhubarbe-status", "-a")
    assert (done.returncode, done.stdout) == (0, f"1-{NODES}: on\n"), done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("status", "-a"),
        ("reset", "-a"),
        ("wait", "-a"),
        ("rescue", "-a"),
        ("nodes", "-a", "--on"),
        ("load", "-a", "-i", "image.ndz"),
    ],
    ids=lambda words: words[0],
)
def test_what_is_not_enough_is_said_of_this_machine_before_anything_is_touched(place, words):
    (place.directory / "image.ndz").write_bytes(b"")
    done = ask(place, "-n 100", f"rhubarbe-{words[0]}", *words[1:])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"open files are needed for {NODES} nodes, and this machine lets a process have" in line
    assert done.stdout == ""
    assert not list((place.directory / "boot").iterdir())
    assert not (place.directory / "state").exists()


@pytest.mark.parametrize("most", [9, 12, 16, 24])
def test_very_few_are_said_in_one_line(place, most):
    done = ask(place, f"-n {most}", "rhubarbe-reset", "1")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr


# Root has as many processes as it likes; this one may still read Python below /root.
SOMEBODY = (
    *("setpriv", "--reuid=4010", "--regid=4010", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    *("--securebits=+no_setuid_fixup", "--"),
)
VERBS = [
    ("status", "1"),
    ("reset", "1"),
    ("wait", "1"),
    ("rescue", "1"),
    ("nodes", "--on", "1"),
    ("load", "-i", "image.ndz", "1"),
    ("save", "-o", "saved", "1"),
    ("history",),
    ("leases",),
    ("book", "+1h", "+2h"),
    ("share", "image.ndz"),
]


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
@pytest.mark.parametrize("limit", ["-u 0", "-v 40000"])
def test_no_thread_and_no_memory_are_said_in_one_line_of_this_machine(place, words, limit):
    place.directory.chmod(0o777)
    (place.directory / "image.ndz").write_bytes(b"")
    line = f'ulimit {limit} && exec "$@"'
    become = SOMEBODY if not os.getuid() else ()
    done = place.run(*become, "bash", "-c", line, "-", f"rhubarbe-{words[0]}", *words[1:])
    said = done.stderr.splitlines()
    assert (done.returncode, len(said)) in {(1, 1), (0, 0)}, done.stderr
    assert all(line.startswith(f"rhubarbe-{words[0]}: ") for line in said)
    assert "FAILED" not in done.stdout
    assert not list((place.directory / "boot").iterdir())


@pytest.mark.parametrize(
    ("limit", "words"),
    [(96 << 20, "less than 128 MiB of addresses"), (900 << 20, "less than 1 GiB of addresses")],
)
def test_too_few_addresses_are_told_with_the_cure(limit, words):
    code = (
        "from rhubarbe.gateway.checks.limits import *\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "try:\n    require_addresses(TO_START)\n    require_room(1)\n"
        "except GatewayError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert words in told.stdout
    assert "ulimit -v" in told.stdout
    assert "nothing was touched" in told.stdout
