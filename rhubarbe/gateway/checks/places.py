"""What is wrong with the directories that users of this gateway share, and how to repair it."""

import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rhubarbe.concurrency.time_limit import within
from rhubarbe.config import Settings
from rhubarbe.errors import why
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.state import SHARED, user_in
from rhubarbe.shared.trust import Distrust, is_ours, name_of, replaceable
from rhubarbe.transports.netboot import CONFIGURED, KINDS, NETBOOTS

# For a directory in which a group may remove each other's dead links; it passes its group on.
FOR_A_GROUP = 0o2775
LOOKED_AT_WITHIN_S = 5.0
_OF_OLD = re.compile(r"locks|links|history|leases\.\d+\.sqlite")


def faults(settings: Settings) -> list[str]:
    """Return a sentence for each thing that is wrong, with its cure; reads directories only."""
    state, images = settings.testbed.state_dir, settings.frisbee.images_dir
    return [
        *_of(state, _made(state, SHARED), [_trust, _state], follows=False),
        *(fault for links in _link_places(settings).items() for fault in _of_links(*links)),
        *_of(images, f"{_made(images)}, or see images_dir in [frisbee]", [_trust]),
    ]


def _of_links(path: Path, kind: str) -> list[str]:
    return _of(path, f"{_made(path, FOR_A_GROUP)}, or see config_dir in [{kind}]", [_links])


def _link_places(settings: Settings) -> dict[Path, str]:
    """Return the directories of links that the configuration has in use, with the kind of each."""
    kinds = {value.value for value in settings.of_nodes if value.key == "netboot"}
    used = {
        directory
        for kind in {settings.nodes.netboot, *kinds} & KINDS.keys()
        for directory, _ in NETBOOTS.named(kind).places(settings)
    }
    places: dict[Path, str] = {}
    for kind in CONFIGURED:
        for directory, _ in NETBOOTS.named(kind).places(settings):
            if directory in used:
                places.setdefault(directory, kind)
    return places


def dangers(config_dir: Path) -> list[str]:
    """Return a sentence, with its cure, where anybody could make nodes boot anything."""
    try:
        with Directory.open(config_dir, follows=True) as directory:
            return list(_strangers(directory))
    except Distrust as error:
        return [str(error)]
    except OSError:  # whoever needs it will say so
        return []


def _made(path: Path, mode: int | None = None) -> str:
    """Say how to make a directory."""
    return f"as root: mkdir -p {path}" + (f"; chmod {mode:o} {path}" if mode else "")


Look = Callable[[Directory], Iterable[str]]


def _of(path: Path, cure: str, looks: Sequence[Look], *, follows: bool = True) -> list[str]:
    """Open a directory, and have it looked at; where that cannot be, say so, with the cure."""

    def faults() -> list[str]:
        with Directory.open(path, follows=follows) as directory:
            return [fault for look in (_above, *looks) for fault in look(directory)]

    try:
        return within(LOOKED_AT_WITHIN_S, faults)
    except Distrust as error:
        return [str(error)]
    except OSError as error:
        return [f"{path}: {why(error)}; {cure}"]


def _above(directory: Directory) -> Iterator[str]:
    yield from replaceable(directory.path)


def _trust(directory: Directory) -> Iterator[str]:
    try:
        directory.require_trust()
    except OSError as error:
        yield str(error)


def _state(directory: Directory) -> Iterator[str]:
    status, path = directory.status, directory.path
    if status.st_uid == 0 and not status.st_mode & stat.S_IWOTH:
        yield f"{path}: only root can note anything there; as root: chmod {SHARED:o} {path}"
    for name in directory.names():
        yield from _of_entry(directory, name)


def _of_entry(state: Directory, name: str) -> Iterator[str]:
    path, uid = state.where(name), user_in(name)
    if uid is None:
        if _OF_OLD.fullmatch(name):
            yield f"{path}: an earlier version kept it, and nothing reads it; as root: rm -r {path}"
        return
    try:
        status = state.status_of(name)
        is_open_to_others = state.may_others_write(name, uid)
    except OSError as error:
        yield f"{path}: {why(error)}"
        return
    if status.st_uid != uid or not stat.S_ISDIR(status.st_mode):
        yield (
            f"{path}: belongs to {name_of(status.st_uid)}, though it has the name of"
            f" {name_of(uid)}'s directory; as root: rm -r {path}"
        )
    elif is_open_to_others:
        yield f"{path}: others can write what {name_of(uid)} keeps there; do: chmod go-w {path}"


def _cure(path: str) -> str:
    return f"as root: chgrp GROUP {path}; chmod {FOR_A_GROUP:o} {path}, GROUP being who may load"


def _strangers(directory: Directory) -> Iterator[str]:
    status, path = directory.status, directory.path
    if not is_ours(status):
        yield f"{path}: belongs to {name_of(status.st_uid)}; as root: chown root {path}"
    if status.st_mode & stat.S_IWOTH:
        yield f"{path}: anybody can make nodes boot anything; {_cure(path)}"


def _links(directory: Directory) -> Iterator[str]:
    yield from _strangers(directory)
    mode, path = directory.status.st_mode, directory.path
    if mode & stat.S_IWOTH:
        return
    if mode & stat.S_ISVTX and mode & stat.S_IWGRP:
        yield f"{path}: nobody but root can remove another's dead link; {_cure(path)}"
    elif not directory.is_writable:
        yield f"{path}: you cannot make nextboot links there; {_cure(path)}"
