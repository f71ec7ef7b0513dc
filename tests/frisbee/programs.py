"""The programs as a user runs them, on loopback addresses of the test's own."""

import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANCE = random.Random()


def program(name):
    return [sys.executable, str(ROOT / "bin" / f"rhubarbe-{name}")]


class Network:
    """A server address, client addresses, a group and a port that no other test has."""

    def __init__(self):
        self.prefix = f"127.{CHANCE.randrange(1, 250)}.{CHANCE.randrange(1, 250)}"
        self.server = f"{self.prefix}.1"
        self.group = (
            f"239.{CHANCE.randrange(1, 250)}.{CHANCE.randrange(250)}.{CHANCE.randrange(250)}"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((self.server, 0))
            self.port = probe.getsockname()[1]

    @property
    def session(self):
        return ["-m", self.group, "-p", str(self.port)]

    def client(self, number):
        return f"{self.prefix}.{number + 2}"

    @contextmanager
    def serving(self, image, *options):
        """A server that is ready; ``.said`` is its standard error afterwards."""
        line = [*program("frisbeed"), "-i", self.server, *self.session, *options, str(image)]
        with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
            try:
                first = b""
                while not first.startswith(b"Serving"):
                    first = process.stderr.readline()
                    assert first, f"the server ended with {process.wait()}"
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                process.said = process.stderr.read().decode()
                process.wait(10)

    def start_client(self, number, disk, *options, **pipes):
        line = [*program("frisbee"), "-i", self.client(number), *self.session, *options]
        return subprocess.Popen([*line, str(disk)], stderr=subprocess.PIPE, **pipes)

    def load(self, disks, *options):
        """Run a client for each disk at once; return their (status, standard error)."""
        clients = [self.start_client(number, disk, *options) for number, disk in enumerate(disks)]
        ends = []
        try:
            for each in clients:
                said = each.communicate(timeout=45)[1].decode()
                ends.append((each.returncode, said))
        finally:
            for each in clients:
                if each.poll() is None:
                    each.kill()
                    each.communicate()
        return ends


def change_behind(client, disk, chunk_bytes, noise_bytes):
    """Change a chunk that a client, run with --json, has written on a disk of zeroes.

    Each starts with noise. Returns its number; it is not 0, whose start is written last.
    """
    while True:
        assert client.stdout.readline(), client.stderr.read()
        content = disk.read_bytes()
        for chunk in range(1, len(content) // chunk_bytes):
            start = chunk * chunk_bytes
            if any(content[start + noise_bytes - 64 : start + noise_bytes]):
                with disk.open("r+b") as behind:
                    behind.seek(start + 1000)
                    behind.write(b"changed")
                return chunk


def wait_for(process, text):
    """Read a program's standard error until it says ``text``."""
    said = b""
    while text.encode() not in said:
        byte = os.read(process.stderr.fileno(), 4096)
        assert byte, f"it ended without saying {text}: {said.decode()}"
        said += byte
    return said.decode()
