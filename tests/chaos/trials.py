"""Runs one trial on a testbed of its own, and then looks at what must always be true.

    python tests/chaos/trials.py SEED

runs one with strangers beside, in the network that this process is in, and prints what it came to.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from beside import run_apart, strangers_beside
from emulated import differing_blocks, start_testbed
from schedule import NODES, trial

from rhubarbe.shared.claims import make_claim
from rhubarbe.shared.state import StateDirectory

MARK = "RHUBARBE_CHAOS"
SIGNALS = {"int": signal.SIGINT, "term": signal.SIGTERM, "hup": signal.SIGHUP}
LONGEST = 60.0
# Short, so that a lost node costs little; long enough for a machine with other things to do.
LIMITS = {
    "cmc_default_timeout": 2,
    "idle_after_reset": 3,
    "reset_timeout": 12,
    "timeout_before_telnet": 10,
    "silence_timeout": 20,
    "wait_default_timeout": 15,
}
WAYS_OF_DEATH = ("kill", "guardian-kill", "crash")


@dataclass
class Finding:
    """What a trial came to: broken invariants in words, and figures."""

    seed: int
    broken: list[str] = field(default_factory=list)
    good_nodes: int = 0
    loaded_nodes: int = 0
    deeds: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Command:
    """One command of the trial, while it runs and after."""

    step: object
    report: Path
    mark: str
    process: subprocess.Popen | None = None
    ended: float = 0.0
    output: str = ""
    orphans_expected: bool = False

    @property
    def died(self):
        return self.process.returncode == -signal.SIGKILL

    @property
    def told(self):
        """Its report; empty when it died."""
        return json.loads(self.report.read_text()) if self.report.exists() else {}

    @property
    def was_refused(self):
        return "error" in self.told


def run_seed(seed, *, strangers=False):
    """Run one seed, perhaps with strangers beside; return the Finding."""
    return Finding(**run_apart(__file__, seed)) if strangers else _run(seed, strangers=False)


def _run(seed, *, strangers):
    plan, started = trial(seed), time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    options = ["--nodes", str(NODES), "--boot-time", "0.3", "--sample-size", "4"]
    for fault in plan.faults:
        options += ["--fault", fault]
    testbed = start_testbed(directory, *options)
    finding = Finding(seed)
    try:
        shorten_limits(testbed)
        if strangers:
            with strangers_beside(testbed, seed) as beside:
                commands = run_commands(testbed, plan, beside.here)
            finding.deeds = dict(beside.done)
            beside.check([command.output for command in commands], finding.broken.append)
        else:
            commands = run_commands(testbed, plan, testbed.directory)
        judge(testbed, plan, commands, finding)
    finally:
        testbed.end()
        shutil.rmtree(directory, ignore_errors=True)
    finding.seconds = time.monotonic() - started
    return finding


def shorten_limits(testbed):
    conf = testbed.directory / "rhubarbe.conf"
    text = conf.read_text()
    for name, value in LIMITS.items():
        text = re.sub(rf"(?m)^{name} = .*\n", "", text)
        text = text.replace("[nodes]\n", f"[nodes]\n{name} = {value}\n")
    conf.write_text(text)


# -- running


def run_commands(testbed, plan, here):
    """Run all commands of the plan, each in a thread, to their ends."""
    commands = []
    threads = []
    for rank, step in enumerate(plan.steps):
        command = Command(step, testbed.directory / f"report-{rank}.json", uuid.uuid4().hex)
        commands.append(command)
        threads.append(threading.Thread(target=run_command, args=(testbed, command, rank, here)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return commands


def run_command(testbed, command, rank, here):
    step = command.step
    time.sleep(step.after)
    words = [*step.command, "--report", str(command.report)]
    if step.verb == "save":
        words += ["-o", f"saved-{rank}"]
    conf = {"RHUBARBE_CONF": str(testbed.directory / "rhubarbe.conf")}
    environ = testbed.environ() | {MARK: command.mark} | conf
    command.process = subprocess.Popen(
        words,
        cwd=here,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(step.within, disturb, args=(command,))
    timer.start()
    try:
        command.output = command.process.communicate(timeout=LONGEST)[0]
    except subprocess.TimeoutExpired:
        command.process.kill()
        command.output = command.process.communicate()[0] + "\nHUNG"
    finally:
        timer.cancel()
        timer.join()
    command.ended = time.monotonic()


def disturb(command):
    """Do to a running command what its step says."""
    kind = command.step.disturbance
    if kind == "int-int":
        for _ in range(2):
            command.process.send_signal(signal.SIGINT)
            time.sleep(0.05)
    elif kind in SIGNALS:
        command.process.send_signal(SIGNALS[kind])
    elif kind == "server":
        signal_all(processes(command.mark, "frisbeed"), signal.SIGKILL)
    elif kind.startswith("guardian"):
        signal_all(processes(command.mark, "guardian_program"), signal.SIGKILL)
        time.sleep(0.3)  # within which it is replaced
    if kind in ("kill", "guardian-kill"):
        command.process.kill()
    elif kind == "crash":
        # Neither may react to the other's end, as when the machine stops.
        pids = processes(command.mark, "")
        command.orphans_expected = bool(pids)
        signal_all(pids, signal.SIGSTOP)
        signal_all(pids, signal.SIGKILL)


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def processes(mark, word):
    """Return the processes that carry a mark in their environment and a word in their command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if word in line:
                        found.append(int(entry.name))
    return found


# -- judging


def judge(testbed, plan, commands, finding):
    say = finding.broken.append
    for command in commands:
        check_processes(command, say)
        check_exit(command, say)
    if any(command.died for command in commands):
        # What only the next command can know: it sweeps what a crash has left.
        testbed.run("rhubarbe-wait", "-t", "0.1", "1")
    check_gateway(testbed, say)
    check_disks(testbed, plan, commands, finding)


def check_processes(command, say):
    deadline = command.ended + 2.0
    while (left := processes(command.mark, "")) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left:
        say(f"{command.step.command}, {command.step.disturbance}: leaves processes {left}")
        signal_all(left, signal.SIGKILL)


def check_exit(command, say):
    """Check that code, report and words say the same."""
    words = f"{command.step.command}, {command.step.disturbance}"
    code, told = command.process.returncode, command.told
    if "HUNG" in command.output or "Traceback" in command.output:
        say(f"{words}: {command.output[-600:]}")
    elif command.died:
        if command.step.disturbance not in WAYS_OF_DEATH:
            say(f"{words}: died")
    elif "nodes" not in told:
        # Before anything was touched: refused, or interrupted while Python started.
        if code == 0:
            say(f"{words}: exit code 0 without an outcome: {told}")
    else:
        check_outcome(words, code, told, command.output, say)


def check_outcome(words, code, told, output, say):
    bad = [node for node in told["nodes"] if not node["ok"]]
    if code != told["exit_code"] or code != (1 if bad else 0):
        say(f"{words}: exit code {code} with {told}")
    if not all(node["phase"] and node["reason"] for node in bad):
        say(f"{words}: a bad node without phase and reason: {bad}")
    if bad and not re.search(r"^bad: \d", output, re.M):
        say(f"{words}: the bad nodes are not named")


def check_gateway(testbed, say):
    """Check that no link, lock, journal entry or draft is left."""
    state = testbed.directory / "state"
    if links := testbed.links():
        say(f"links left: {links}")
    for path in (*state.glob(f"{os.getuid()}*/link.*"), *state.glob(f"{os.getuid()}*/.link.*")):
        say(f"left: {path.name}")
    key = StateDirectory(state).key()
    for number in range(1, NODES + 1):
        claim = make_claim(key, f"node/{(node := f'fit{number:02}')}")
        if claim is None:
            say(f"still locked: {node}")
        else:
            claim.close()
    for image in (*testbed.directory.glob("saved-*.ndz"), *testbed.directory.glob("here/*.ndz")):
        if (
            image.lstat().st_uid == os.getuid()
            and testbed.run("rhubarbe-imagedump", "--check", str(image)).returncode
        ):
            say(f"{image.name} looks whole and is not")


def check_disks(testbed, plan, commands, finding):
    """Check what is on the disks against what the last load of each node said."""
    old = testbed.directory / "run" / "old.img"
    for number in range(1, NODES + 1):
        touching = sorted(
            (c for c in commands if number in c.step.nodes and not c.was_refused),
            key=lambda command: command.ended,
        )
        loads = [command for command in touching if command.step.verb == "load"]
        disk = testbed.disk(f"fit{number:02}")
        is_new = differing_blocks(disk, testbed.source) == [] if disk_is_large(disk, old) else False
        if loads and number not in plan.faulty and not all(c.died for c in loads):
            finding.good_nodes += 1
            finding.loaded_nodes += is_new
        if any(command.step.verb == "save" for command in touching):
            continue  # its stamp is on the disk
        if loads and said_good(loads[-1], number) and not is_new:
            finding.broken.append(f"fit{number:02} is said to be good, and is not")
        if not is_new and not is_still(disk, old) and boots(testbed, number):
            finding.broken.append(f"fit{number:02} boots, and is neither the old nor the new")
        check_good(plan, loads, number, finding)


def disk_is_large(disk, old):
    return disk.stat().st_size >= old.stat().st_size


def said_good(command, number):
    return any(node["number"] == number and node["ok"] for node in command.told.get("nodes", ()))


def is_still(disk, old):
    """Tell whether nothing was written; the disk may have been made smaller than the system."""
    return disk.read_bytes() == old.read_bytes()[: disk.stat().st_size]


def boots(testbed, number):
    """Ask the testbed itself whether it finds a system on the disk."""
    code = (
        "import asyncio, sys; from pathlib import Path; from rhubarbe.testbed.disk import DiskFile;"
        "sys.exit(not asyncio.run(DiskFile(Path(sys.argv[1]), asyncio.Semaphore(1)).boots()))"
    )
    python = shutil.which("python3", path=testbed.environ()["PATH"])
    return testbed.run(python, "-c", code, str(testbed.disk(f"fit{number:02}"))).returncode == 0


def check_good(plan, loads, number, finding):
    """Check that a good node was not held back by the bad ones."""
    undisturbed = [c for c in loads if c.step.disturbance in ("none", "guardian")]
    for command in undisturbed:
        ended = {node["number"]: node for node in command.told.get("nodes", ())}
        if number in ended and number not in plan.faulty and not ended[number]["ok"]:
            node = ended[number]
            finding.broken.append(
                f"{command.step.command}: good fit{number:02} failed: {node['phase']}:"
                f" {node['reason']}"
            )


if __name__ == "__main__":
    json.dump(asdict(_run(int(sys.argv[1]), strangers=True)), sys.stdout)
