"""Nodes that are switched in all ways that there are, and who looks whether a secret is seen."""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import threading
from pathlib import Path

from emulated import start_testbed

from rhubarbe.annexe.errors import MissingProgram
from rhubarbe.config import Settings
from rhubarbe.inventory import load_inventory
from rhubarbe.node import Doors
from rhubarbe.node.secrets import secrets_of
from rhubarbe.testbed import controls

SHORTEST = 6
# Some controls start a program for each answer, and this machine may have much else to do.
LIMITS = {"cmc_default_timeout": 10, "reset_timeout": 60}
# What the testbed itself keeps, and what nodes have.
NOT_OURS = ("run", "disks", "images", "nodes", "ramdisk")


def can_be_served(kind):
    with contextlib.suppress(MissingProgram):
        controls.named(kind).check()
        return True
    return False


KINDS = [kind for kind in controls.KINDS if can_be_served(kind)]


def site_inventory(site):
    return load_inventory(site.directory / "inventory.json")


def names_of_controls(site):
    """Return by the name of each node how users know what switches it."""
    doors = Doors(Settings())
    return {entry.name: doors.power(entry).name for entry in site_inventory(site)}


def patient(conf):
    """Give the nodes of a configuration more time."""
    limits = "".join(f"{name} = {seconds}\n" for name, seconds in LIMITS.items())
    others = re.sub(rf"(?m)^({'|'.join(LIMITS)}) = .*\n", "", conf.read_text())
    conf.write_text(others.replace("[nodes]\n", f"[nodes]\n{limits}"))


@contextlib.contextmanager
def controlled(directory, *words):
    """A testbed with controls of all kinds in turn; its nodes have more time."""
    testbed = start_testbed(directory, "--power", ",".join(KINDS), *words)
    patient(testbed.directory / "rhubarbe.conf")
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def secrets_in(site):
    """All secrets of the inventory, in clear, and as parts of a text in base64."""
    found = set()
    for entry in site_inventory(site):
        for _, secret in secrets_of(entry):
            found.add(asyncio.run(secret.reveal()))
    assert all(len(each) >= SHORTEST for each in found), "too short to be looked for"
    return sorted(found | {form for each in found for form in in_base64(each)})


def in_base64(secret):
    """Yield what a text in base64 has of a secret, wherever that begins in it."""
    for before in range(3):
        code = base64.b64encode(b"-" * before + secret.encode())
        yield code[4 if before else 0 : len(code) // 4 * 4 - 4].decode()


def shown_in(said, secrets):
    """Tell which of some texts, by who said them, have which secret."""
    return [(who, secret) for who, text in said.items() for secret in secrets if secret in text]


def files_with(site, secrets):
    """Tell which files that commands leave there have a secret, and which were looked into."""
    kept = {site.directory / "inventory.json"}
    for entry in site_inventory(site):
        kept.update(Path(secret.words[0]) for _, secret in secrets_of(entry))
    looked_into, found = set(), []
    for path in site.directory.rglob("*"):
        place = path.relative_to(site.directory).parts[0]
        if path.is_file() and place not in NOT_OURS and path not in kept:
            content = path.read_bytes()
            looked_into.add(path.name)
            found += [path for each in secrets if each.encode() in content]
    return found, looked_into


class Watch:
    """Looks for some words in the command lines of all processes, for as long as it is entered."""

    def __init__(self, words, every_s=0.002):
        self._words = [word.encode() for word in words]
        self._every_s = every_s
        self._over = threading.Event()
        self.looks = 0
        self.programs = set()
        self.seen = set()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.wait(self._every_s):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    line = path.read_bytes()
                    self.programs.add(Path(line.partition(b"\0")[0].decode(errors="replace")).name)
                    self.seen.update(line for word in self._words if word in line)


def switched_by_hand(site, **power):
    """Write a configuration in which people switch these nodes; `fit01={...}` says more of that."""
    entries = json.loads((site.directory / "inventory.json").read_text())
    for entry in entries:
        if (node := entry["control"]["hostname"]) in power:
            entry["power"] = {"kind": "none"} | power[node]
    (site.directory / "by_hand.json").write_text(json.dumps(entries))
    conf = (site.directory / "rhubarbe.conf").read_text()
    other = site.directory / "by_hand.conf"
    other.write_text(conf.replace("/inventory.json", "/by_hand.json"))
    other.chmod(0o600)
    return {"RHUBARBE_CONF": str(other)}


def with_a_person(site, command, environ, sees_to=()):
    """Run a command beside who sees to some nodes; return its status, output, and notices."""
    said, told = [], []
    with site.start(*command, environ=environ, stderr=None) as process:
        for line in process.stdout:
            said.append(line)
            event = json.loads(line)
            if event["event"] == "Notice" and "switch" in event["text"]:
                told.append(event["text"])
                for node in sees_to:
                    if f"switch {node} " in event["text"]:
                        site.ask_card(node, "reset")
    return process.returncode, "".join(said), told
