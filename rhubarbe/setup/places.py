"""Steps that make directories, and that make one which is there fit for a group."""

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.errors import GatewayError
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.record import Noted, Record
from rhubarbe.setup.step import DONE, MAKE, CannotUndo, Gone, Look, Step, Verdict
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.trust import name_of

KIND, ADOPTED = "directory", "mode"


@dataclass(frozen=True, slots=True)
class Place(Step):
    """A directory of root's: its mode, and its group where it is for one."""

    path: Path
    why: str
    mode: int = 0o755
    group: str = ""
    adopts: bool = False  # one that is there gets this mode and group, too

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is."""
        return f"{self.path}/  {self.mode:04o} root:{self.group or 'root'}, {self.why}"

    @property
    def key(self) -> str:
        """By what it is noted."""
        return f"{KIND} {self.path}"

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether it is there, as it should be, or as somebody wants it."""
        try:
            with Directory.open(machine.at(self.path), follows=True) as directory:
                status = directory.status
        except FileNotFoundError:
            return MAKE
        group = machine.group(self.group or "root")
        if is_so(status, self.mode, group.gid if group else -1):
            return DONE
        if noted := record.made.get(self.key) or record.made.get(f"{ADOPTED} {self.path}"):
            if is_so(status, noted["mode"], noted["gid"]):
                return Look(Verdict.CHANGE, f"was {_said(status, machine)}")
            return Look(Verdict.LEAVE, f"changed since: {_said(status, machine)}")
        return self._look_at_another_s(status, machine)

    def _look_at_another_s(self, status: os.stat_result, machine: Machine) -> Look:
        if status.st_uid != 0:
            return Look(
                Verdict.LEAVE,
                f"belongs to {name_of(status.st_uid)}; do by hand: chown root {self.path}",
            )
        if not self.adopts:
            return DONE
        if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
            return Look(Verdict.LEAVE, f"is for a group already: {_said(status, machine)}")
        return Look(Verdict.CHANGE, f"was {_said(status, machine)}")

    def do(self, machine: Machine, record: Record) -> None:
        """Make it, with this mode, whatever the umask."""
        group = machine.group(self.group or "root")
        if group is None:
            raise GatewayError(f"there is no group {self.group}")
        path = machine.at(self.path)
        noted = {"kind": KIND, "path": str(self.path), "mode": self.mode, "gid": group.gid}
        try:
            with Directory.open(path, follows=True) as directory:
                before = directory.status
                if self.key not in record.made:
                    first = record.made.get(f"{ADOPTED} {self.path}", {}).get("before")
                    noted |= {"kind": ADOPTED, "before": first or _of(before)}
                record.note(f"{noted['kind']} {self.path}", noted)
                _give(directory, self.mode, group.gid)
        except FileNotFoundError:
            record.note(self.key, noted)
            with Directory.open(path.parent, follows=True) as above:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path.name, 0o700, dir_fd=above.descriptor)
                with Directory.open(path.name, above) as directory:
                    _give(directory, self.mode, group.gid)


def is_so(status: os.stat_result, mode: int, gid: int) -> bool:
    """Tell whether a directory is root's, of this group, with this mode."""
    return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, gid, mode)


def _give(directory: Directory, mode: int, gid: int, uid: int = 0) -> None:
    os.fchown(directory.descriptor, uid, gid)
    os.fchmod(directory.descriptor, mode)


def _of(status: os.stat_result) -> Noted:
    return {"mode": stat.S_IMODE(status.st_mode), "gid": status.st_gid, "uid": status.st_uid}


def _said(status: os.stat_result, machine: Machine) -> str:
    owner, group = name_of(status.st_uid), machine.group_name(status.st_gid)
    return f"{stat.S_IMODE(status.st_mode):04o} {owner}:{group}"


def undo_place(machine: Machine, noted: Noted) -> None:
    """Remove a directory, if it is empty; raises CannotUndo, Gone, or OSError."""
    try:
        above, name = Directory.of(machine.at(noted["path"]), follows=False)
        with above:
            try:
                os.rmdir(name, dir_fd=above.descriptor)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                with Directory.open(name, above) as directory:
                    count = len(directory.names())
                raise CannotUndo(f"is not empty: {count} in it") from None
    except FileNotFoundError:
        raise Gone from None


def undo_mode(machine: Machine, noted: Noted) -> None:
    """Give a directory its former mode and group; raises CannotUndo, Gone, or OSError."""
    try:
        with Directory.open(machine.at(noted["path"]), follows=True) as directory:
            if not is_so(directory.status, noted["mode"], noted["gid"]):
                raise CannotUndo(f"changed since: {_said(directory.status, machine)}")
            before = noted["before"]
            _give(directory, before["mode"], before["gid"], before["uid"])
    except FileNotFoundError:
        raise Gone from None
