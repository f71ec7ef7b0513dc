"""Going through a plan: each step told, then done; and back through the record of one."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from rhubarbe.errors import GatewayError, why
from rhubarbe.setup import accounts, files, places, programs, service
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.record import Noted, Record
from rhubarbe.setup.step import GAP, CannotUndo, Gone, Look, Step
from rhubarbe.shared.trust import Distrust
from rhubarbe.text import sanitise

Tell = Callable[[str], None]

UNDO: dict[str, Callable[[Machine, Noted], None]] = {
    accounts.GROUP: accounts.undo_group,
    accounts.MEMBER: accounts.undo_member,
    places.KIND: places.undo_place,
    places.ADOPTED: places.undo_mode,
    files.KIND: files.undo_file,
    files.LINK: files.undo_links,
    programs.PACKAGES: programs.undo_packages,
    service.SERVICE: service.undo_service,
}
COLUMN = 44
CONTENT = " " * 11


def show(steps: Sequence[Step], record: Record, tell: Tell, *, full: bool) -> int:
    """Tell of each step what is to be done, and in `full` what is written; return how many are due.

    Raises GatewayError, or OSError.
    """
    due = 0
    for step in steps:
        with _told_of(step):
            look = step.look(record.machine, record)
        tell(_line(step, look))
        if look.is_due:
            due += 1
            for line in step.content if full else ():
                tell(f"{CONTENT}{line}")
    return due


def _line(step: Step, look: Look) -> str:
    name, _, purpose = step.words.partition(GAP)
    more = f" ({look.words})" if look.words else ""
    return f"{look.verdict:<7}{sanitise(name):<{COLUMN}} {sanitise(purpose + more)}"


def make(steps: Sequence[Step], record: Record, tell: Tell) -> None:
    """Do what is due, in order; raises GatewayError for the first that cannot be done."""
    for step in steps:
        with _told_of(step):
            if not step.look(record.machine, record).is_due:
                continue
            step.do(record.machine, record)
        tell(f"done   {sanitise(step.words.partition(GAP)[0])}")


@contextlib.contextmanager
def _told_of(step: Step) -> Iterator[None]:
    """Have an error of the system be one of this step."""
    try:
        yield
    except Distrust as error:
        raise GatewayError(str(error)) from error
    except OSError as error:
        name, place = step.words.partition(GAP)[0], error.filename
        what = f"{place}: {why(error)}" if isinstance(place, str) and place != name else why(error)
        raise GatewayError(f"{name}: cannot be made: {what}") from error


def show_undo(record: Record, tell: Tell) -> None:
    """Tell what would be undone, unless somebody has changed it."""
    for noted in reversed(record.made.values()):
        tell(f"undo   {_name(noted)}")


def undo(record: Record, tell: Tell) -> int:
    """Undo what was made, the last first; tell what is left, and why; return how many that are.

    What is left is not ours any more.
    """
    left: list[Noted] = []
    for key, noted in reversed(list(record.made.items())):
        name = _name(noted)
        try:
            _undo_one(record.machine, noted, left)
        except Gone:
            record.forget(key)
            continue
        except (CannotUndo, GatewayError, OSError) as error:
            left.append(noted)
            words = why(error) if isinstance(error, OSError) else str(error)
            tell(f"leave  {name} ({sanitise(words)})")
        else:
            record.forget(key)
            tell(f"undone {name}")
    record.remove()
    return len(left)


def _undo_one(machine: Machine, noted: Noted, left: Sequence[Noted]) -> None:
    if noted["kind"] == accounts.GROUP:
        group = machine.group(noted["name"])
        if group is not None and any(each.get("gid") == group.gid for each in left):
            raise CannotUndo("what is left is for it")
    UNDO[noted["kind"]](machine, noted)


_NAMES: Mapping[str, str] = {
    accounts.GROUP: "group {name}",
    accounts.MEMBER: "user {user} in group {group}",
    places.KIND: "{path}/",
    places.ADOPTED: "mode and group of {path}/",
    files.KIND: "{path}",
    files.LINK: "links in {path}/",
    programs.PACKAGES: "packages {names}",
    service.SERVICE: "what dnsmasq was told",
}


def _name(noted: Noted) -> str:
    words = {key: " ".join(value) if key == "names" else value for key, value in noted.items()}
    return sanitise(_NAMES[noted["kind"]].format(**words))
