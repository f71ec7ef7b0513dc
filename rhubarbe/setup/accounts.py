"""Steps about who may load: a group, and its members."""

from dataclasses import dataclass

from rhubarbe.errors import GatewayError
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.record import Noted, Record
from rhubarbe.setup.step import DONE, MAKE, CannotUndo, Gone, Look, Step

GROUP, MEMBER = "group", "member"


@dataclass(frozen=True, slots=True)
class MakeGroup(Step):
    """The group of those who may load, save and switch nodes."""

    name: str

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is."""
        return f"group {self.name}  whose members may load, save and share images"

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether there is one, whoever made it."""
        return DONE if machine.group(self.name) else MAKE

    def do(self, machine: Machine, record: Record) -> None:
        """Make it, as one of the system's."""
        key = f"{GROUP} {self.name}"
        record.note(key, {"kind": GROUP, "name": self.name})
        try:
            machine.accounts("groupadd", "--system", self.name)
        except GatewayError:
            record.forget(key)
            raise


@dataclass(frozen=True, slots=True)
class Member(Step):
    """A user in the group."""

    user: str
    group: str

    @property
    def words(self) -> str:  # type: ignore[override]
        """Who it is."""
        return f"user {self.user}  in group {self.group}, from the next login on"

    def look(self, machine: Machine, record: Record) -> Look:
        """Tell whether that is so; raises GatewayError where there is no such user."""
        if not machine.has_user(self.user):
            raise GatewayError(f"--user {self.user}: there is no such user; adduser makes one")
        group = machine.group(self.group)
        return DONE if group and self.user in group.members else MAKE

    def do(self, machine: Machine, record: Record) -> None:
        """Have it so."""
        key = f"{MEMBER} {self.user} {self.group}"
        record.note(key, {"kind": MEMBER, "user": self.user, "group": self.group})
        machine.accounts("usermod", "-a", "-G", self.group, self.user)


def undo_group(machine: Machine, noted: Noted) -> None:
    """Remove the group, if nobody else is in it; raises CannotUndo, Gone, or GatewayError."""
    group = machine.group(noted["name"])
    if group is None:
        raise Gone
    if group.members:
        raise CannotUndo(f"there are others in it: {', '.join(sorted(group.members))}")
    machine.accounts("groupdel", noted["name"])


def undo_member(machine: Machine, noted: Noted) -> None:
    """Take the user out of the group; raises Gone, or GatewayError."""
    group = machine.group(noted["group"])
    if group is None or noted["user"] not in group.members:
        raise Gone
    machine.accounts("usermod", "-r", "-G", noted["group"], noted["user"])
