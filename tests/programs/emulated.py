"""The commands as a user runs them, an emulated testbed, and proofs by other people's programs."""

import ast
import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
READY_WITHIN = 90  # seconds, on a machine that has much else to do
SECTOR, BOOT_CODE = 512, 440
PARTITION = 2048 * SECTOR  # where the one of the emulated sample begins
NAME_OF_LINK = re.compile(r"(01-)?[0-9a-f]{2}(-[0-9a-f]{2}){5}(\.ipxe)?")
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@dataclass
class Place:
    """A directory with a configuration, and the commands that run there."""

    directory: Path

    def environ(self, **more):
        kept = {
            key: value
            for key, value in os.environ.items()
            if key not in ("NODES", "ALL_NODES", "RHUBARBE_CONF")
        }
        return kept | {"PATH": f"{BIN}:{kept['PATH']}", "HOME": str(self.directory)} | more

    def run(self, *command, within=60, **environ):
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self.environ(**environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def start(self, *command, environ=None, **options):
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.environ(**(environ or {})),
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.STDOUT,
                "text": True,
            }
            | options,
        )

    def configure(self, text):
        """Write the configuration that commands read here."""
        conf = self.directory / "rhubarbe.conf"
        conf.write_text(text)
        conf.chmod(0o600)


@dataclass
class Testbed(Place):
    """A running testbed, its files, and the commands that run in its directory."""

    __test__ = False

    process: subprocess.Popen

    def disk(self, name):
        return self.directory / "disks" / f"{name}.img"

    @property
    def source(self):
        """The disk that the sample image was made of."""
        return self.directory / "run" / "sample.img"

    def ask_card(self, name, verb):
        """Send a verb to the power card of a node, as the suite would; return its answer."""
        entries = json.loads((self.directory / "inventory.json").read_text())
        entry = next(entry for entry in entries if entry["control"]["hostname"] == name)
        conf = (self.directory / "rhubarbe.conf").read_text()
        port = re.search(r"(?m)^cmc_port = (\d+)$", conf).group(1)
        with urllib.request.urlopen(
            f"http://{entry['cmc']['ip']}:{port}/{verb}", timeout=10
        ) as answer:
            return answer.read().decode()

    def links(self):
        directories = (self.directory / name for name in ("pxelinux.cfg", "grub", "ipxe"))
        files = (path for directory in directories for path in directory.iterdir())
        return [path.name for path in files if NAME_OF_LINK.fullmatch(path.name)]

    def log(self):
        return (self.directory / "testbed.log").read_text()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        with self.process:  # closes the pipe, and waits
            try:
                self.process.wait(15)
            finally:
                self.process.kill()


@dataclass
class PrivateTestbed(Testbed):
    """A testbed on a network of its own, where the commands have to go too."""

    __test__ = False

    def run(self, *command, **options):
        return super().run(self.directory / "enter", *command, **options)

    def start(self, *command, **options):
        return super().start(self.directory / "enter", *command, **options)

    def ask_card(self, name, verb):
        """Send a verb to the power card of a node, as the suite would; return its answer."""
        with self.hand_at_cards() as ask:
            return ask(name, verb)

    @contextmanager
    def hand_at_cards(self):
        """Have a process there already that asks cards, for when it must not take a while."""
        entries = json.loads((self.directory / "inventory.json").read_text())
        cards = {entry["control"]["hostname"]: entry["cmc"]["ip"] for entry in entries}
        script = (
            "import sys, urllib.request as u\n"
            "print('ready', flush=True)\n"
            "for url in sys.stdin:\n"
            "    print(repr(u.urlopen(url.strip(), timeout=10).read()), flush=True)\n"
        )
        words = (sys.executable, "-c", script)
        with self.start(*words, stdin=subprocess.PIPE, bufsize=1) as process:
            assert process.stdout.readline() == "ready\n"

            def ask(name, verb):
                process.stdin.write(f"http://{cards[name]}/{verb}\n")
                process.stdin.flush()
                return ast.literal_eval(process.stdout.readline()).decode()

            yield ask
            process.stdin.close()


def start_testbed(directory, *options, kind=Testbed, ready_within=READY_WITHIN):
    """Start a testbed and wait, with a bound, for the line that says that it serves."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [BIN / "rhubarbe-testbed", "--directory", directory, "--sample-size", "12", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={key: value for key, value in os.environ.items() if key != "RHUBARBE_CONF"},
        )
        _expect_line(process, ready_within, said)
    return kind(Path(directory), process)


def _expect_line(process, ready_within, said):
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(ready_within) or not process.stdout.readline():
            process.terminate()
            process.communicate(timeout=15)
            said.seek(0)
            raise AssertionError(f"no testbed serves within {ready_within} s: {said.read()}")


def tool(*command):
    """Run one of e2fsprogs, which an ordinary user's path may not have."""
    return subprocess.run(
        command,
        env={**os.environ, "PATH": SBIN},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    ).stdout


def root_of(disk):
    """Return where the first partition begins, in bytes, and whether the table is a GPT."""
    with disk.open("rb") as file:
        start = file.read(3 * SECTOR)
    if start[SECTOR:].startswith(b"EFI PART"):
        return int.from_bytes(start[2 * SECTOR + 32 :][:8], "little") * SECTOR, True
    return int.from_bytes(start[446 + 8 :][:4], "little") * SECTOR, False


def free_blocks(disk):
    """Return the filesystem's block size, and its free blocks as dumpe2fs lists them."""
    # not DISK?offset=N: dumpe2fs 1.47.2 looks for a file of this name
    with tempfile.NamedTemporaryFile() as copy:
        start, _ = root_of(disk)
        words = ("bs=1M", f"skip={start}", "iflag=skip_bytes", "conv=sparse")
        tool("dd", f"if={disk}", f"of={copy.name}", *words)
        text = tool("dumpe2fs", copy.name)
    size = int(re.search(r"^Block size: +(\d+)", text, re.M).group(1))
    count = int(re.search(r"^Block count: +(\d+)", text, re.M).group(1))
    free = set()
    for line in re.findall(r"^  Free blocks: (\S.*)$", text, re.M):
        for run in line.split(", "):
            first, _, last = run.partition("-")
            free.update(range(int(first), int(last or first) + 1))
    assert free, "a filesystem without free blocks proves little"
    return size, count, free


def differing_blocks(disk, source):
    """Compare, without any code of ours, what `source` holds in use with `disk`.

    The allocated blocks by dumpe2fs's word, and all that lies before the partition: of a GPT, which
    says how large its disk is, what does not say that, and it must be one that sfdisk praises.
    """
    size, count, free = free_blocks(source)
    start, is_gpt = root_of(source)
    if is_gpt and "No errors detected." not in tool("sfdisk", "--verify", disk):
        return ["the partition table"]
    differing = []
    with source.open("rb") as one, disk.open("rb") as other:
        pieces = [(0, BOOT_CODE), (2 * SECTOR, start)] if is_gpt else [(0, start)]
        for begin, end in pieces:
            one.seek(begin)
            other.seek(begin)
            if one.read(end - begin) != other.read(end - begin):
                differing.append("before the partition")
        for block in range(count):
            if block in free:
                one.seek(size, os.SEEK_CUR)
                other.seek(size, os.SEEK_CUR)
            elif one.read(size) != other.read(size):
                differing.append(block)
    return differing


def wait_until(condition, within=40):
    """Wait until a condition holds; fail where it does not in so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within} s"
        time.sleep(0.02)


def wait_for_event(process, name, within=40):
    """Read JSON lines of a running command up to the first event of this name; return it."""
    deadline = time.monotonic() + within
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == name:
            return event
        assert time.monotonic() < deadline, f"no {name} within {within} s"
    raise AssertionError(f"the command ended without {name}")


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def processes_on_nodes(testbed):
    """Return the processes that work in the directory of a node, so on the node."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            place = (entry / "cwd").readlink() if entry.name.isdecimal() else Path("/")
            if place.is_relative_to(testbed.directory / "nodes"):
                found.append(int(entry.name))
    return found


def processes_of(directory):
    """The processes that work in a testbed's directory, or were told of it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes()
                works = (entry / "cwd").readlink().is_relative_to(directory)
            except OSError:  # it has ended
                continue
            if works or os.fsencode(directory) in line:
                found.append(line)
    return found
