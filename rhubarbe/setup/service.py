"""The step that has dnsmasq take its configuration, and the one that tries that beforehand."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.errors import GatewayError
from rhubarbe.setup import files
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.record import Noted, Record
from rhubarbe.setup.step import DONE, Gone, Look, Step, Verdict

SERVICE = "service"
DNSMASQ = "dnsmasq"
DEFAULTS = "/etc/default/dnsmasq"
CONFIGURED = "/etc/dnsmasq.d"
_PID_FILE = "/run/dnsmasq/dnsmasq.pid"


@dataclass(frozen=True, slots=True)
class Served(Step):
    """A file that dnsmasq reads when it starts."""

    file: files.TextFile

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is."""
        return self.file.words

    @property
    def content(self) -> list[str]:
        """Its lines."""
        return list(self.file.content)

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether it is there, and whose."""
        return self.file.look(machine, record)

    def do(self, machine: Machine, record: Record) -> None:
        """Write it."""
        due(record)
        self.file.do(machine, record)


class Snippet(Served):
    """A part of dnsmasq's configuration, which goes again where dnsmasq refuses it."""

    def do(self, machine: Machine, record: Record) -> None:
        """Write it, if dnsmasq takes it beside what it has; raises GatewayError."""
        due(record)
        path = machine.at(self.file.path)
        try:
            before: bytes | None = files.read(path)
        except FileNotFoundError:
            before = None
        self.file.do(machine, record)
        try:
            check(machine)
        except GatewayError:
            if before is None:
                files.remove(path)
                record.forget(f"{files.KIND} {self.file.path}")
            else:
                files.write(machine, record, self.file.path, before)
            raise


def check(machine: Machine) -> None:
    """Have dnsmasq read its configuration; raises GatewayError. One that is not there yet will."""
    if machine.find(DNSMASQ) is None or not machine.at("/etc/dnsmasq.conf").exists():
        return
    named = re.search(r"(?m)^CONFIG_DIR=(\S+)", machine.text_of(DEFAULTS))
    machine.run(
        DNSMASQ, "--test", "-C", "/etc/dnsmasq.conf", "-7", named[1] if named else CONFIGURED
    )


def due(record: Record) -> None:
    """Note that dnsmasq does not know yet what it is configured to do."""
    record.note(SERVICE, {"kind": SERVICE, "is_due": True})


@dataclass(frozen=True, slots=True)
class Restart(Step):
    """dnsmasq runs, and by the configuration that was written."""

    words = "dnsmasq  is restarted, and at each start of this machine started"

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether it runs, since it was configured."""
        if not machine.is_here:
            return DONE  # it is started where it is started at all
        if record.made.get(SERVICE, {}).get("is_due"):
            return Look(Verdict.CHANGE, "its configuration is new")
        return DONE if _is_running(machine) else Look(Verdict.CHANGE, "it does not run")

    def do(self, machine: Machine, record: Record) -> None:
        """Restart it, also at the start of the machine; raises GatewayError."""
        if machine.has_systemd:
            machine.run("systemctl", "daemon-reload")
            machine.run("systemctl", "enable", DNSMASQ)
        _restart(machine)
        record.note(SERVICE, {"kind": SERVICE, "is_due": False})


def _restart(machine: Machine) -> None:
    if machine.has_systemd:
        machine.run("systemctl", "restart", DNSMASQ)
        return
    machine.run("service", DNSMASQ, "restart")
    if not _is_running(machine):
        raise GatewayError("dnsmasq does not run though it was started; see its log")


def stop(machine: Machine) -> None:
    """End it, if it runs; raises GatewayError."""
    if machine.is_here and _is_running(machine):
        way = (
            ("systemctl", "stop", DNSMASQ) if machine.has_systemd else ("service", DNSMASQ, "stop")
        )
        machine.run(*way)


def _is_running(machine: Machine) -> bool:
    if machine.has_systemd:
        with suppress(GatewayError):
            machine.run("systemctl", "--quiet", "is-active", DNSMASQ)
            return True
        return False
    number = machine.text_of(_PID_FILE).strip()
    if not number.isdecimal():
        return False
    with suppress(OSError):
        os.kill(int(number), 0)
        return Path(f"/proc/{number}/comm").read_text().strip() == DNSMASQ
    return False


def undo_service(machine: Machine, noted: Noted) -> None:
    """Have dnsmasq forget what it was told, if it is still there; raises Gone, or GatewayError."""
    if not machine.is_here or not machine.installed([DNSMASQ]) or not _is_running(machine):
        raise Gone
    if machine.has_systemd:
        machine.run("systemctl", "daemon-reload")
    _restart(machine)
