"""Images between two gateways: an sshd on loopback is the other one, as a user would have it."""

import getpass
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emulated import BIN, Place, wait_until
from golden import assert_golden, transcript

SSHD = "/usr/sbin/sshd"
MIB = 1 << 20
SIZE = 16 * MIB

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not os.access(SSHD, os.X_OK) or not shutil.which("rsync"),
        reason="needs rsync and openssh-server",
    ),
]

# Slow, so that there is time to interrupt; it notes how much it sends.
RSYNC = """\
#!/bin/sh
exec {rsync} --bwlimit=6000 --log-file={log} "$@"
"""

SSHD_CONF = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv PATH={home}/bin:{bin}:/usr/bin:/bin RHUBARBE_CONF={home}/there.conf
"""


def make_image(path, seed, size=SIZE):
    """Make a sealed image of a disk of random bytes, which nothing makes smaller."""
    disk = path.with_suffix(".img")
    disk.write_bytes(random.Random(seed).randbytes(size))
    subprocess.run(
        [sys.executable, BIN / "rhubarbe-imagezip", "-f", disk, path],
        check=True,
        capture_output=True,
        timeout=60,
    )
    disk.unlink()


class Gateways:
    """Two directories of images, `here` and `there`, with sshd and a slow rsync between them."""

    def __init__(self, home):
        self.home = home
        self.log = home / "rsync.log"
        for name in ("here", "there", "bin"):
            (home / name).mkdir()
        for name in ("here", "there"):
            conf = home / f"{name}.conf"
            conf.write_text(f"[frisbee]\nimages_dir = {home / name}\n")
            conf.chmod(0o600)
        slow = home / "bin" / "rsync"
        slow.write_text(RSYNC.format(rsync=shutil.which("rsync"), log=self.log))
        slow.chmod(0o755)
        for name in ("host_key", "key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True
            )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.host = f"{getpass.getuser()}@127.0.0.1"
        self.ssh = (
            f"ssh -p {self.port} -i {home}/key -o IdentitiesOnly=yes -F none"
            f" -o UserKnownHostsFile={home}/known -o StrictHostKeyChecking=no"
            " -o LogLevel=ERROR"
        )
        conf = home / "sshd_config"
        conf.write_text(SSHD_CONF.format(port=self.port, home=home, bin=BIN))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.sshd = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", conf], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def _answers(self):
        assert self.sshd.poll() is None, "sshd ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def command(self, *words):
        return [str(BIN / "rhubarbe-sync"), "-e", self.ssh, *words[:1], self.host, *words[1:]]

    def transcript(self, *commands):
        """Return what a user sees who has said once and for all how to reach the other gateway."""
        commands = [command.replace("GATEWAY", self.host) for command in commands]
        shown = transcript(Place(self.home), *commands, **self.environ(), RSYNC_RSH=self.ssh)
        return shown.replace(self.host, "GATEWAY").replace(f"port {self.port}", "port PORT")

    def environ(self):
        return os.environ | {
            "PATH": f"{self.home}/bin:{BIN}:{os.environ['PATH']}",
            "RHUBARBE_CONF": str(self.home / "here.conf"),
        }

    def run(self, *words):
        return subprocess.run(
            self.command(*words),
            env=self.environ(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def start(self, *words):
        return subprocess.Popen(
            self.command(*words),
            env=self.environ(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def most_sent(self):
        """The most bytes that one rsync has sent, of those that came to their end."""
        lines = [line for line in self.log.read_text().splitlines() if "] sent " in line]
        return max(int(line.split("] sent ")[1].split()[0].replace(",", "")) for line in lines)

    def end(self):
        self.sshd.terminate()
        self.sshd.wait(10)


@pytest.fixture
def gateways(tmp_path):
    both = Gateways(tmp_path)
    yield both
    both.end()


def ends(gateways, direction):
    """The directories where images come from, and go to."""
    pair = gateways.home / "there", gateways.home / "here"
    return pair if direction == "--pull" else pair[::-1]


@pytest.mark.parametrize("direction", ["--pull", "--push"])
def test_what_is_missing_is_copied_and_nothing_else(gateways, direction):
    source, target = ends(gateways, direction)
    for seed, name in enumerate(["one", "two", "three"]):
        make_image(source / f"{name}.ndz", seed)
    shutil.copy(source / "two.ndz", target)
    (source / "default.ndz").symlink_to("one.ndz")
    (source / "cut.ndz.partial").write_bytes(b"x")
    dry = gateways.run(direction, "-n")
    assert dry.returncode == 0, dry.stderr
    assert sorted(path.name for path in target.iterdir()) == ["two.ndz"]
    done = gateways.run(direction)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^two +\d+\.\d\dM  there already$", done.stdout, re.M)
    assert sorted(path.name for path in target.iterdir()) == ["one.ndz", "three.ndz", "two.ndz"]
    for name in ("one", "three"):
        copy, original = target / f"{name}.ndz", source / f"{name}.ndz"
        assert copy.read_bytes() == original.read_bytes()
        assert int(copy.stat().st_mtime) == int(original.stat().st_mtime)
        assert stat.S_IMODE(copy.stat().st_mode) & 0o444 == 0o444
    again = gateways.run(direction)
    assert again.returncode == 0
    assert again.stdout.count("there already") == 3


@pytest.mark.parametrize(
    ("direction", "number"),
    [
        ("--push", signal.SIGINT),
        ("--pull", signal.SIGTERM),
        ("--push", signal.SIGKILL),
        ("--pull", signal.SIGKILL),
    ],
)
def test_interrupted_it_leaves_no_half_image_and_goes_on_when_run_again(
    gateways, direction, number
):
    source, target = ends(gateways, direction)
    make_image(source / "big.ndz", 7)
    size = (source / "big.ndz").stat().st_size
    partial = target / "big.ndz.partial"
    process = gateways.start(direction)
    wait_until(lambda: partial.exists() and partial.stat().st_size > size // 3)
    os.killpg(process.pid, number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode != 0
    assert "Traceback" not in output
    assert not (target / "big.ndz").exists()
    there = partial.stat().st_size
    assert size // 4 < there < size
    again = gateways.run(direction)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (target / "big.ndz").read_bytes() == (source / "big.ndz").read_bytes()
    assert not partial.exists()
    assert gateways.most_sent() < size - there // 2


@pytest.mark.parametrize("direction", ["--pull", "--push"])
def test_a_damaged_image_gets_no_name(gateways, direction):
    source, target = ends(gateways, direction)
    make_image(source / "bad.ndz", 9)
    with (source / "bad.ndz").open("r+b") as image:
        image.seek(2 * MIB + 5000)
        image.write(b"?????")
    done = gateways.run(direction)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "bad.ndz" in line
    assert "chunk 2" in line
    assert list(target.iterdir()) == []


def test_another_image_of_that_name_is_kept_and_the_others_are_copied(gateways):
    source, target = ends(gateways, "--pull")
    make_image(source / "a.ndz", 1)
    make_image(target / "a.ndz", 2)
    make_image(source / "b.ndz", 3)
    before = (target / "a.ndz").read_bytes()
    done = gateways.run("--pull")
    assert done.returncode == 1
    assert "another image has this name there" in done.stdout
    assert (target / "a.ndz").read_bytes() == before
    assert (target / "b.ndz").read_bytes() == (source / "b.ndz").read_bytes()


def test_what_a_user_sees(gateways):
    here, there = gateways.home / "here", gateways.home / "there"
    for seed, image in enumerate(
        (there / "fedora.ndz", there / "ubuntu.ndz", there / "bad.ndz", here / "mywork.ndz")
    ):
        make_image(image, seed, MIB)
    make_image(here / "ubuntu.ndz", 9, MIB)
    shutil.copy(there / "fedora.ndz", there / "centos.ndz")
    with (there / "bad.ndz").open("r+b") as image:
        image.seek(5000)
        image.write(b"?????")
    shown = gateways.transcript(
        "rhubarbe-sync --pull GATEWAY --dry-run",
        "rhubarbe-sync --pull GATEWAY fedora centos",
        "rhubarbe-sync --pull GATEWAY",
        "rhubarbe-sync --push GATEWAY mywork fedora",
        "rhubarbe-sync --push GATEWAY mywork",
        "rhubarbe-sync --pull GATEWAY fedoar",
        "rhubarbe-sync --push GATEWAY x",
        "rhubarbe-sync --pull 'no gateway'",
        "sh -c 'rhubarbe-sync GATEWAY 2>&1 | tail -1'",
    )
    gateways.end()
    shown += gateways.transcript("rhubarbe-sync --pull GATEWAY")
    assert_golden("images/sync", shown)


def lie(gateways, program, script):
    """Have the other gateway run a script instead of one of its programs."""
    path = gateways.home / "bin" / program
    real = shutil.which(program, path=f"{BIN}:/usr/bin:/bin")
    # The rsync that is ours is no server.
    guard = f'case "$1" in --server) ;; *) exec {real} "$@";; esac' if program == "rsync" else ""
    path.write_text(f"#!/bin/sh\n{guard}\n{script}\n")
    path.chmod(0o755)


def listing(*images):
    images = [{"name": name, "size": size, "id": None} for name, size in images]
    return json.dumps([{"directory": "DIRECTORY", "images": images}])


def told(gateways, document):
    """Have the other gateway tell of these images."""
    text = document.replace("DIRECTORY", str(gateways.home / "there"))
    (gateways.home / "told.json").write_text(text)
    lie(gateways, "rhubarbe-images", f"cat {gateways.home}/told.json")


def one_clean_line(done):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.isprintable()
    assert len(line) < 500
    return line


@pytest.mark.parametrize("when", [-1_000_000_000, 2**40, 32_503_680_000])
def test_the_time_of_an_image_is_one_that_was(gateways, when):
    make_image(gateways.home / "there" / "odd.ndz", 1, MIB)
    os.utime(gateways.home / "there" / "odd.ndz", (when, when))
    done = gateways.run("--pull")
    assert done.returncode == 0, done.stderr
    copy = gateways.home / "here" / "odd.ndz"
    assert abs(copy.stat().st_mtime - time.time()) < 300


@pytest.mark.parametrize("size", [0, MIB, 5 * MIB - 1])
def test_an_image_larger_than_was_said_does_not_come(gateways, size):
    make_image(gateways.home / "there" / "big.ndz", 1)
    told(gateways, listing(("big", size)))
    one_clean_line(gateways.run("--pull"))
    here = list((gateways.home / "here").iterdir())
    assert all(path.stat().st_size <= max(size, MIB) for path in here)
    assert not (gateways.home / "here" / "big.ndz").exists()


def test_odd_names_are_left_and_the_others_come(gateways):
    make_image(gateways.home / "there" / "good.ndz", 1, MIB)
    size = (gateways.home / "there" / "good.ndz").stat().st_size
    odd = ["../../etc/cron.d/x", "/etc/x", "\x1b[2J\x07", "a\nb", "\ud800", "x" * 9000]
    told(gateways, listing(("good", size), *((name, 5) for name in odd)))
    done = gateways.run("--pull")
    assert done.returncode == 1
    assert done.stderr == ""
    assert re.fullmatch(r"[\x20-\x7e\n\u2026]*", done.stdout)
    assert [path.name for path in (gateways.home / "here").iterdir()] == ["good.ndz"]


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("rhubarbe-images", "yes"),
        ("rhubarbe-images", "yes >&2"),
        ("rhubarbe-images", "tr '\\0' '[' < /dev/zero"),
        ("rhubarbe-images", "printf '\\033[2J' >&2; exit 3"),
        ("rsync", "cat /dev/zero"),
        ("rsync", "yes"),
        ("rsync", "yes >&2"),
        ("rsync", "printf '\\033[2Jno\\n' >&2; exit 12"),
        ("rsync", "kill -9 $$"),
    ],
)
def test_whatever_a_peer_says_ends_in_one_line(gateways, program, script):
    make_image(gateways.home / "there" / "one.ndz", 1, MIB)
    lie(gateways, program, script)
    one_clean_line(gateways.run("--pull"))
    assert not (gateways.home / "here" / "one.ndz").exists()
