"""Steps that run programs: packages installed, a ramdisk built."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.errors import GatewayError
from rhubarbe.gateway.processes.programs import find_program
from rhubarbe.setup import files, service
from rhubarbe.setup.machine import PACKAGES_WITHIN_S, Machine, run
from rhubarbe.setup.record import Noted, Record
from rhubarbe.setup.step import DONE, MAKE, CannotUndo, Gone, Look, Step, Verdict

# On a disk, and for what is large.
ASIDE = "/var/tmp"  # noqa: S108 - a directory in it that is ours alone
PACKAGES, RAMDISK = "packages", "ramdisk"
# The configuration files that are there, ours among them, stay as they are.
APT = ("apt-get", "-y", "-q", "-o", "Dpkg::Options::=--force-confold")
# How apt ends where it has no list of packages yet, or lists what the archive has no more.
_OUTDATED = re.compile(
    r"Unable to (locate package|fetch some archives|correct problems)|no installation candidate"
    r"|Failed to fetch"
)
_INSTALLED = re.compile(r"(?m)^Inst (\S+)")
_REMOVED = re.compile(r"(?m)^(?:Remv|Purg) (\S+)")


@dataclass(frozen=True, slots=True)
class Packages(Step):
    """Debian packages."""

    names: Sequence[str]

    @property
    def words(self) -> str:  # type: ignore[override]
        """What they are."""
        return f"packages {' '.join(self.names)}  of Debian, by apt-get"

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether all are installed."""
        if missing := self._missing(machine):
            return Look(Verdict.MAKE, f"missing: {' '.join(missing)}")
        return DONE

    def _missing(self, machine: Machine) -> list[str]:
        there = machine.installed(self.names)
        return [name for name in self.names if name not in there]

    def do(self, machine: Machine, record: Record) -> None:
        """Install those that lack; where apt's lists are too old for that, by new ones."""
        try:
            self._install(machine, record)
        except GatewayError as error:
            if not _OUTDATED.search(str(error)):
                raise
            machine.run("apt-get", "-q", "update", within_s=PACKAGES_WITHIN_S)
            self._install(machine, record)

    def _install(self, machine: Machine, record: Record) -> None:
        install = ["install", "--no-install-recommends", *self._missing(machine)]
        would = machine.run(*APT, "--simulate", *install)
        before = record.made.get(PACKAGES, {}).get("names", [])
        names = dict.fromkeys([*before, *_INSTALLED.findall(would)])
        record.note(PACKAGES, {"kind": PACKAGES, "names": list(names)})
        machine.run(*APT, *install, within_s=PACKAGES_WITHIN_S)


def undo_packages(machine: Machine, noted: Noted) -> None:
    """Remove those that came with our installation, unless others want them.

    Raises CannotUndo, Gone, or GatewayError. Their configuration goes, too, if nobody changed it.
    """
    names = machine.installed(noted["names"])
    if not names:
        raise Gone
    would = _REMOVED.findall(machine.run(*APT, "--simulate", "remove", *names))
    if others := sorted(set(would) - set(names)):
        raise CannotUndo(f"others want them: {' '.join(others)}")
    if service.DNSMASQ in names:
        service.stop(machine)
    is_changed = machine.run("dpkg", "--verify", *names).strip()
    way = "remove" if is_changed else "purge"
    machine.run(*APT, way, *names, within_s=PACKAGES_WITHIN_S)


@dataclass(frozen=True, slots=True)
class Ramdisk(Step):
    """What nodes boot to be loaded: kernel, initrd and boot entries, in the directories of TFTP.

    `rhubarbe-ramdisk build` makes it, or has made it in the directory `made`.
    """

    directory: Path
    entries: Mapping[str, Path]  # where boot entries go, by the directory that the builder has
    needed: Sequence[Path]  # without which there is none
    options: Sequence[str] = ()
    made: Path | None = None
    is_wanted_anew: bool = False

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is, and how it is made."""
        how = f"copied from {self.made}" if self.made else f"by {' '.join(self._command('DIR'))}"
        return f"{self.directory}/vmlinuz, initrd and their entries  the ramdisk, {how}"

    def _command(self, output: Path | str) -> list[str]:
        return ["rhubarbe-ramdisk", "build", "--output", str(output), *self.options]

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether all of it is there, whoever made it."""
        if not all(machine.at(path).exists() for path in self.needed):
            return MAKE
        if self.is_wanted_anew:
            return Look(Verdict.CHANGE, "made anew, as was asked for")
        return DONE

    def do(self, machine: Machine, record: Record) -> None:
        """Make it where only we can write, then put each file in its place, unless another's is.

        Those places are for a group.
        """
        if self.made is not None:
            return self._place(machine, record, self.made)
        with tempfile.TemporaryDirectory(dir=ASIDE, prefix="rhubarbe-ramdisk-") as beside:
            program, *words = self._command(beside)
            run([find_program(program, "pip install"), *words], PACKAGES_WITHIN_S)
            return self._place(machine, record, Path(beside))

    def _place(self, machine: Machine, record: Record, beside: Path) -> None:
        for source in sorted(path for path in beside.rglob("*") if path.is_file()):
            path, content = self._target(source.relative_to(beside)), files.read(source)
            wanted = files.digest_of(content)
            if files.look_at(machine, record, path, wanted).is_due:
                files.write(machine, record, path, content)
        if missing := [path for path in self.needed if not machine.at(path).exists()]:
            raise GatewayError(f"{missing[0]}: the ramdisk has no such file")

    def _target(self, name: Path) -> Path:
        for directory, place in self.entries.items():
            if name.is_relative_to(directory):
                return place / name.relative_to(directory)
        return self.directory / name
