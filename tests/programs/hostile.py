"""What a hostile user may lay under a name, before a command or while one runs; all as alice's."""

import contextlib
import os
import random
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

ALICE = 4001
SECRET = "TOPSECRET-of-root-only"
RUNS = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL, command TEXT, exit_code INTEGER,
                   seconds REAL, image TEXT);
CREATE TABLE phases (run INTEGER, node TEXT, phase TEXT, seconds REAL);
"""
NODES = "CREATE TABLE nodes (run INTEGER, node TEXT, ok INTEGER, attempts INTEGER, seconds REAL,"
ENDLESS = """
CREATE VIEW nodes AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)
  SELECT 1 AS run, 'fit01' AS node, 1 AS ok, 1 AS attempts, 1.0 AS seconds, '' AS phase,
  '' AS reason FROM c WHERE x < 0;
CREATE VIEW leases AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)
  SELECT x AS id, 1.0 AS begins, 2.0 AS ends FROM c WHERE x < 0;
INSERT INTO runs VALUES (1, 1e9, 'load', 0, 1, 'x');
"""
ESCAPES = "\x1b]0;pwned\x07\x1b[2J\x9b31m\nline\u202e"
CHANGING = """
import os, sys
number, victim, *paths = sys.argv[1:]
os.setgroups([])
os.setgid(int(number))
os.setuid(int(number))
print("changing", flush=True)
while True:
    for path in paths:
        draft = path + ".mine"
        for make in (lambda: os.symlink(victim, draft), lambda: os.mkfifo(draft),
                     lambda: open(draft, "w").close(), lambda: None):
            try:
                make()
                os.rename(draft, path)
            except OSError:
                pass
        try:
            os.unlink(path)
        except OSError:
            pass
"""


def database(path, script, version=0):
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.executescript(script)
        made.execute(f"PRAGMA user_version = {version}")
        made.commit()


def bind(path):
    before = Path.cwd()
    os.chdir(path.parent)  # an address has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def sparse(size):
    def lay(path, _):
        with path.open("wb") as stream:
            stream.truncate(size)

    return lay


def text(content):
    return lambda path, _: path.write_bytes(content)


def timed(seconds):
    def lay(path, _):
        path.write_bytes(b"x")
        os.utime(path, (seconds, seconds))

    return lay


def moded(mode):
    def lay(path, _):
        path.write_bytes(b"x")
        path.chmod(mode)

    return lay


def device(kind, major, minor):
    return lambda path, _: os.mknod(path, kind | 0o666, os.makedev(major, minor))


def full_directory(path, _):
    path.mkdir()
    for number in range(300):
        (path / f"{number}.ndz").touch()


def deep_directory(path, _):
    path.mkdir()
    before = os.open(path, os.O_RDONLY)
    for _ in range(300):  # deeper than a path is long
        os.mkdir("d" * 100, dir_fd=before)
        after = os.open("d" * 100, os.O_RDONLY, dir_fd=before)
        os.close(before)
        before = after
    os.close(before)


def journalled(path, victim):
    """Lay a database with what SQLite would obey beside it: a journal that names a file."""
    database(path, RUNS)
    name = os.fsencode(victim)
    for ending in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        magic = bytes.fromhex("d9d505f920a163d7")
        beside.write_bytes(magic + bytes(500) + name + len(name).to_bytes(4, "big") + magic)
        os.chown(beside, ALICE, ALICE)


def two_links(path, _):
    other = path.with_name(path.name + ".other")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def immutable(path, _):
    path.write_bytes(b"x")
    os.chown(path, ALICE, ALICE)
    subprocess.run(["chattr", "+i", path], check=False, capture_output=True)


# Each lays something under a name; `victim` is root's, for nobody else to read.
WAYS = {
    "link to a secret": lambda path, victim: path.symlink_to(victim),
    "link that climbs": lambda path, victim: path.symlink_to(os.path.relpath(victim, path.parent)),
    "link to a secret's directory": lambda path, victim: path.symlink_to(victim.parent),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("nothing")),
    "link to itself": lambda path, _: path.symlink_to(path),
    "two links to each other": two_links,
    "link to /dev/zero": lambda path, _: path.symlink_to("/dev/zero"),
    "link to /dev/tty": lambda path, _: path.symlink_to("/dev/tty"),
    "link to /proc/self/mem": lambda path, _: path.symlink_to("/proc/self/mem"),
    "link of 4000 bytes": lambda path, _: path.symlink_to("x/" * 2000),
    "second name of a secret": lambda path, victim: path.hardlink_to(victim),
    "second name of what all read": lambda path, victim: path.hardlink_to(
        victim.with_name("public")
    ),
    "pipe": lambda path, _: os.mkfifo(path),
    "socket": lambda path, _: bind(path),
    "device without end": device(0o020000, 1, 5),
    "device that is full": device(0o020000, 1, 7),
    "device that is none": device(0o060000, 240, 77),
    "directory": lambda path, _: path.mkdir(),
    "directory of 300 names": full_directory,
    "directory 300 deep": deep_directory,
    "empty file": text(b""),
    "file of 1 TiB, all a hole": sparse(1 << 40),
    "file of 24 MiB": text(bytes(24 << 20)),
    "file of brackets": text(b"[" * 60_000),
    "file of noise": text(random.Random(1).randbytes(70_000)),
    "text with escapes": text(ESCAPES.encode()),
    "text that is none": text(b"\xff\xfe\x80" * 1000),
    "one line of 8 MiB": text(b"x" * (8 << 20)),
    "mode 000": moded(0),
    "mode 7777": moded(0o7777),
    "of 1901": timed(-(2**31)),
    "of 2446": timed(2**33 + 2**32),
    "that nobody can change": immutable,
    "wrong SQLite header": text(b"SQLite format 3\0" + b"\xff" * 5000),
    "database of version 99": lambda path, _: database(path, RUNS, 99),
    "database without tables": lambda path, _: database(path, "CREATE TABLE x (y)"),
    "database without end": lambda path, _: database(path, RUNS + ENDLESS, 1),
    "database with a journal beside": journalled,
    "record of absurd values": text(
        b'{"node": "../../etc", "path": "/etc/passwd", "target": "x", "user": "\\u001b[2J",'
        b' "command": "load", "pid": 1e999, "start": "1", "boot": "x", "since": -1, "expires": 1}'
    ),
}


class Laid:
    """What alice has laid, under all these names, as long as the context lasts."""

    def __init__(self, way, paths, victim):
        self._way, self.paths, self._victim = way, paths, victim
        self._others = []

    def __enter__(self):
        before = {path: set(path.parent.iterdir()) for path in self.paths}
        for path in self.paths:
            WAYS[self._way](path, self._victim)
            if "second name" not in self._way and "nobody can change" not in self._way:
                os.chown(path, ALICE, ALICE, follow_symlinks=False)
            self._others += set(path.parent.iterdir()) - before[path] - set(self.paths)
        self._before = self._looks()
        return self

    def _looks(self):
        """Return what there is to see of each from outside."""
        found = {}
        for path in self.paths:
            status = path.lstat()
            target = path.readlink() if path.is_symlink() else None
            found[path.name] = (
                *(status.st_mode, status.st_uid, status.st_ino, status.st_size),
                *(status.st_mtime_ns, target),
            )
        return found

    def assert_untouched(self):
        """Fail where anything of it was written, chmodded, replaced or removed."""
        assert self._looks() == self._before

    def __exit__(self, *_):
        for path in [*self.paths, *self._others]:
            subprocess.run(["chattr", "-i", path], check=False, capture_output=True)
            subprocess.run(["rm", "-rf", path], check=False)


@contextlib.contextmanager
def changing(paths, victim):
    """Have a process of alice's that lays one thing after the other under these names."""
    words = [sys.executable, "-c", CHANGING, str(ALICE), victim, *paths]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"changing\n"
        try:
            yield
        finally:
            process.kill()
    for path in paths:
        for each in (path, path.with_name(path.name + ".mine")):
            subprocess.run(["rm", "-rf", each], check=False)
