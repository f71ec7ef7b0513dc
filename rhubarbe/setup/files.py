"""Steps that write files: texts, copies of what packages bring, and the files of a ramdisk."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.errors import GatewayError
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.record import Noted, Record
from rhubarbe.setup.step import DONE, MAKE, CannotUndo, Gone, Look, Step, Verdict
from rhubarbe.shared.directory import Directory

KIND = "file"
LARGEST = 64 << 20
READABLE = 0o644


@dataclass(frozen=True, slots=True)
class TextFile(Step):
    """A text that is written whole. One that is there, and not ours, stays as it is."""

    path: Path
    text: str
    why: str
    group: str = ""
    mode: int = READABLE
    is_site_s: bool = False  # from then on the site's: not even replaced where nobody changed it
    is_secret: bool = False  # nobody else is to see what it says, be it here or in the file

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is."""
        return f"{self.path}  {self.why}"

    @property
    def content(self) -> Sequence[str]:
        """All lines that say something."""
        if self.is_secret:
            return ["(not shown: secrets are written in it)"]
        lines = [line for line in self.text.splitlines() if line and not line.startswith("#")]
        return [
            line
            for line, after in zip(lines, [*lines[1:], "["], strict=True)
            if not (line.startswith("[") and after.startswith("[") and after != line)
        ] or lines

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether it is there, and whose."""
        wanted = digest_of(self.text.encode())
        return look_at(machine, record, self.path, wanted, keeps=self.is_site_s)

    def do(self, machine: Machine, record: Record) -> None:
        """Write it."""
        write(machine, record, self.path, self.text.encode(), self.mode, self.group)


@dataclass(frozen=True, slots=True)
class Copied(Step):
    """A file that a Debian package brings, where TFTP serves it. Raises GatewayError without."""

    path: Path
    source: Path

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is."""
        return f"{self.path}  a copy of {self.source}"

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether it is there; the source may not be there yet."""
        try:
            wanted = digest_of(read(machine.at(self.source)))
        except FileNotFoundError:
            wanted = ""
        return look_at(machine, record, self.path, wanted, keeps=not wanted)

    def do(self, machine: Machine, record: Record) -> None:
        """Copy it."""
        try:
            content = read(machine.at(self.source))
        except FileNotFoundError as error:
            raise GatewayError(f"{self.source}: is missing, though its package is there") from error
        write(machine, record, self.path, content)


def look_at(
    machine: Machine, record: Record, path: Path, wanted: str, *, keeps: bool = False
) -> Look:
    """Tell what is to be done about a file that should have this digest; else what it has.

    Where somebody `keeps` it, one that we wrote and nobody changed is right, too.
    """
    try:
        has = digest_of(read(machine.at(path)))
    except FileNotFoundError:
        return MAKE
    noted = record.made.get(f"{KIND} {path}")
    if has == wanted:
        return DONE
    if noted is None:
        return DONE if keeps else Look(Verdict.LEAVE, "is there already, and another's")
    if has != noted["digest"]:
        return DONE if keeps else Look(Verdict.LEAVE, "changed by hand since it was written")
    return DONE if keeps else Look(Verdict.CHANGE, "as nobody has changed it since")


def digest_of(content: bytes) -> str:
    """Return what a content is known by."""
    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> bytes:
    """Return what is in a file, wherever it is; raises FileNotFoundError, or OSError."""
    directory, name = Directory.of(path, follows=True)
    with directory:
        descriptor = directory.open_file(name, many_names=True)
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise GatewayError(f"{path}: is larger than {LARGEST >> 20} MiB")
    return content


def write(
    machine: Machine,
    record: Record,
    path: Path,
    content: bytes,
    mode: int = READABLE,
    group: str = "",
) -> None:
    """Write a file of root's, whole or not at all, noted beforehand; raises OSError."""
    key = f"{KIND} {path}"
    before = record.made.get(key)
    gid = _gid(machine, group)
    record.note(key, {"kind": KIND, "path": str(path), "digest": digest_of(content)})
    try:
        directory, name = Directory.of(machine.at(path), follows=False)
        with directory:
            directory.replace(name, content, os.getuid(), mode, gid)
    except BaseException:
        record.note(key, before) if before else record.forget(key)
        raise


def _gid(machine: Machine, group: str) -> int:
    if not group:
        return 0
    found = machine.group(group)
    if found is None:
        raise GatewayError(f"there is no group {group}")
    return found.gid


def remove(path: Path) -> None:
    """Remove a file, through no link that a stranger laid; raises FileNotFoundError, or OSError."""
    directory, name = Directory.of(path, follows=False)
    with directory:
        directory.unlink(name)


def undo_file(machine: Machine, noted: Noted) -> None:
    """Remove a file that is as it was written; raises CannotUndo, Gone, or OSError."""
    path = machine.at(noted["path"])
    try:
        if digest_of(read(path)) != noted["digest"]:
            raise CannotUndo("changed by hand since it was written")
        remove(path)
    except FileNotFoundError:
        raise Gone from None


LINK = "link"


@dataclass(frozen=True, slots=True)
class Links(Step):
    """Links in one directory to files elsewhere, under the same names."""

    directory: Path
    targets: Sequence[Path]
    why: str

    @property
    def words(self) -> str:  # type: ignore[override]
        """What they are."""
        return f"{self.directory}/  {len(self.targets)} links: {self.why}"

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell which lack; what else has such a name stays."""
        return MAKE if self._lacking(machine) else DONE

    def _lacking(self, machine: Machine) -> list[Path]:
        try:
            with Directory.open(machine.at(self.directory), follows=True) as directory:
                return [each for each in self.targets if not directory.has(each.name)]
        except FileNotFoundError:
            return list(self.targets)

    def do(self, machine: Machine, record: Record) -> None:
        """Make those that lack."""
        lacking, key = self._lacking(machine), f"{LINK} {self.directory}"
        targets = record.made.get(key, {}).get("targets", {})
        targets |= {target.name: str(target) for target in lacking}
        record.note(key, {"kind": LINK, "path": str(self.directory), "targets": targets})
        with Directory.open(machine.at(self.directory), follows=True) as directory:
            for target in lacking:
                with contextlib.suppress(FileExistsError):
                    os.symlink(target, target.name, dir_fd=directory.descriptor)


def undo_links(machine: Machine, noted: Noted) -> None:
    """Remove the links that lead where they did; raises CannotUndo for others, or OSError."""
    changed: list[str] = []
    try:
        with Directory.open(machine.at(noted["path"]), follows=True) as directory:
            for name, target in noted["targets"].items():
                if not directory.has(name):
                    continue
                if _leads_to(directory, name, target):
                    directory.unlink(name)
                else:
                    changed.append(name)
    except FileNotFoundError:
        raise Gone from None
    if changed:
        raise CannotUndo(f"changed by hand since they were made: {', '.join(changed)}")


def _leads_to(directory: Directory, name: str, target: str) -> bool:
    """Tell whether a name is that of a link there; it may be that of a file."""
    try:
        return directory.link_at(name) == target
    except OSError:
        return False
