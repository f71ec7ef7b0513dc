"""Runs the strangers beside a trial, and looks afterwards whether they achieved anything."""

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from strangers import SECRET

STRANGERS = ("user", "host")
# In a network namespace of its own, so that nobody else's session and sockets are there.
APART = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@dataclass
class Beside:
    """The strangers beside one trial; `here` is where commands run, which others may write."""

    top: Path
    here: Path
    before: dict = field(default_factory=dict)
    done: Counter = field(default_factory=Counter)

    def check(self, outputs, say):
        """Say what the strangers achieved: what was changed, made, or told them."""
        for path in self.before.keys() | _state_of(self.top).keys():
            now = _state_of(self.top).get(path)
            if now != self.before.get(path):
                say(f"{path.relative_to(self.top)}: was {self.before.get(path)}, is {now}")
        readable = [
            path for path in self.here.iterdir() if not path.is_symlink() and path.is_file()
        ]
        for path in readable:
            status = path.stat()
            if not status.st_uid and status.st_size < 1 << 24 and SECRET in _text(path):
                say(f"{path.name} holds what alice may not read")
        if any(SECRET in output for output in outputs):
            say("the output holds what alice may not read")


@contextlib.contextmanager
def strangers_beside(testbed, seed):
    """Make a gateway of the testbed, with a directory for all, and start the strangers."""
    top = testbed.directory
    here, canaries = top / "here", top / "canaries"
    for path in (here, canaries):
        path.mkdir()
    (top / "state").mkdir(exist_ok=True)
    for path, mode in ((top, 0o755), (here, 0o1777), (top / "state", 0o1777)):
        path.chmod(mode)
    (top / "images").chmod(0o1777)
    (top / "pxelinux.cfg").chmod(0o2775)
    for name, mode in (("secret", 0o600), ("readable", 0o644)):
        (canaries / name).write_text(SECRET)
        (canaries / name).chmod(mode)
    beside = Beside(top, here, _state_of(top))
    with contextlib.ExitStack() as stack:
        for kind in STRANGERS:
            stack.callback(_end, _start(kind, top, seed, testbed.environ()), beside.done)
        yield beside


def _start(kind, top, seed, environ):
    program = Path(__file__).with_name("strangers.py")
    process = subprocess.Popen(
        [sys.executable, str(program), kind, str(top), str(seed)],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()  # it is there
    return process


def _end(process, done):
    """End a stranger, and add what it did; one that had ended by itself has proven nothing."""
    early = process.poll()
    process.terminate()
    told = process.communicate(timeout=30)[0]
    assert early is None, f"a stranger ended by itself, with {early}"
    done.update(json.loads(told))


def _state_of(top):
    """What no stranger may bring about a change of: names, contents, owners and modes."""
    paths = [
        *(top / "canaries").iterdir(),
        *(top / name for name in ("canaries", "inventory.json", "rhubarbe.conf", "nothing")),
        *(path for path in (top / "images").iterdir() if path.lstat().st_uid == 0),
    ]
    return {path: found for path in paths if (found := _of(path)) is not None}


def _of(path):
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        content = hash(path.read_bytes()) if path.is_file() else sorted(path.iterdir())
        return status.st_mode, status.st_uid, content
    return None


def _text(path):
    return path.read_bytes().decode(errors="replace")


def run_apart(program, seed):
    """Run a trial of a seed in a process and a network of its own; return what it prints.

    One that did not come to its end has broken something, too.
    """
    programs = str(Path(program).parents[1] / "programs")
    done = subprocess.run(
        [*APART, sys.executable, program, str(seed)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": programs},
    )
    if done.returncode:
        return {"seed": seed, "broken": [f"no end of the trial: {done.stderr[-2000:]}"]}
    return json.loads(done.stdout)
