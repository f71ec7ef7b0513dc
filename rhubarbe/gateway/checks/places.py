"""What is wrong with the directories that users of this gateway share, and how to repair it.

A sentence that has a cure ends in it: `; as root: COMMAND`, or `; do: COMMAND`.
"""

import grp
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rhubarbe.concurrency.time_limit import within
from rhubarbe.config import Settings
from rhubarbe.errors import why
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.state import SHARED, user_in
from rhubarbe.shared.trust import Distrust, is_ours, name_of, replaceable, user_name
from rhubarbe.transports.netboot import CONFIGURED, KINDS, NETBOOTS

# For a directory in which a group may remove each other's dead links; it passes its group on.
FOR_A_GROUP = 0o2775
GROUP = "rhubarbe"
LOOKED_AT_WITHIN_S = 5.0
_OF_OLD = re.compile(r"locks|links|history|leases\.\d+\.sqlite")


def faults(settings: Settings) -> list[str]:
    """Return a sentence for each thing that is wrong, with its cure; reads directories only."""
    return [
        *state_faults(settings.testbed.state_dir),
        *(
            fault
            for path, kind in _link_places(settings).items()
            for fault in link_faults(path, f"config_dir in [{kind}]")
        ),
        *image_faults(settings.frisbee.images_dir),
    ]


def state_faults(path: Path) -> list[str]:
    """Return what is wrong with `state_dir`, as `faults` does."""
    return _of(path, "state_dir in [testbed]", [_trust, _state], mode=SHARED, follows=False)


def link_faults(path: Path, said_by: str) -> list[str]:
    """Return what is wrong with a directory of nextboot links, as `faults` does."""
    return _of(path, said_by, [_links], mode=FOR_A_GROUP)


def image_faults(path: Path) -> list[str]:
    """Return what is wrong with `images_dir`, as `faults` does."""
    return _of(path, "images_dir in [frisbee]", [_trust])


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


Look = Callable[[Directory], Iterable[str]]


def _of(
    path: Path, said_by: str, looks: Sequence[Look], *, mode: int = 0, follows: bool = True
) -> list[str]:
    """Open a directory, and have it looked at; where that cannot be, say so, with the cure.

    One that is not there is made with the `mode`; `said_by` is the setting that names it.
    """

    def faults() -> list[str]:
        with Directory.open(path, follows=follows) as directory:
            return [fault for look in (_above, *looks) for fault in look(directory)]

    try:
        return within(LOOKED_AT_WITHIN_S, faults)
    except Distrust as error:
        return [str(error)]
    except OSError as error:
        cure = ""
        if isinstance(error, FileNotFoundError):
            cure = f"; as root: mkdir -p {quoted(path)}"
            cure += f"; {_given(path, 0)}" if mode == FOR_A_GROUP else ""
            cure += f"; chmod {mode:o} {quoted(path)}" if mode == SHARED else ""
        elif isinstance(error, PermissionError):
            cure = f"; as root: chmod a+rx {quoted(path)}"
        return [f"{path}: {why(error)} ({said_by}){cure}"]


def quoted(path: str | Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(os.fspath(path))


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
        cure = f"chmod {SHARED:o} {quoted(path)}"
        yield f"{path}: only root can note anything there; as root: {cure}"
    for name in directory.names():
        yield from _of_entry(directory, name)


def _of_entry(state: Directory, name: str) -> Iterator[str]:
    path, uid = state.where(name), user_in(name)
    if uid is None:
        if _OF_OLD.fullmatch(name):
            cure = f"rm -r {quoted(path)}"
            yield f"{path}: an earlier version kept it, and nothing reads it; as root: {cure}"
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
            f" {name_of(uid)}'s directory; as root: rm -r {quoted(path)}"
        )
    elif is_open_to_others:
        yield (
            f"{path}: others can write what {name_of(uid)} keeps there;"
            f" do: chmod go-w {quoted(path)}"
        )


def _given(path: str | Path, gid: int) -> str:
    """Return the command that gives a directory to who may load, and lets us be one of them.

    Their group is the one that it has, where that is not root's.
    """
    name = _group_name(gid) if gid else GROUP
    make = "" if gid else f"groupadd -f {name}; "
    join = "" if os.getuid() == 0 or gid in os.getgroups() else f"; {_joined(name)}"
    return f"{make}chgrp {name} {quoted(path)}; chmod {FOR_A_GROUP:o} {quoted(path)}{join}"


def _joined(group: str) -> str:
    return f"usermod -a -G {shlex.quote(group)} {shlex.quote(user_name())}"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _strangers(directory: Directory) -> Iterator[str]:
    status, path = directory.status, directory.path
    if not is_ours(status):
        yield (f"{path}: belongs to {name_of(status.st_uid)}; as root: chown root {quoted(path)}")
    if status.st_mode & stat.S_IWOTH:
        cure = _given(path, status.st_gid)
        yield f"{path}: anybody can make nodes boot anything; as root: {cure}"


def _links(directory: Directory) -> Iterator[str]:
    yield from _strangers(directory)
    status, path = directory.status, directory.path
    mode, cure = status.st_mode, _given(directory.path, status.st_gid)
    if mode & stat.S_IWOTH:
        return
    if os.fstatvfs(directory.descriptor).f_flag & os.ST_RDONLY:
        mount = f'mount -o remount,rw "$(findmnt -n -o TARGET -T {quoted(path)})"'
        yield f"{path}: is on a disk that is mounted to be read only; as root: {mount}"
    elif mode & stat.S_ISVTX and mode & stat.S_IWGRP:
        yield f"{path}: nobody but root can remove another's dead link; as root: {cure}"
    elif not directory.is_writable:
        yield _no_right(status, path)


def _no_right(status: os.stat_result, path: str) -> str:
    """Return the sentence on a directory in which we may not make links."""
    gid, right = status.st_gid, stat.S_IWGRP | stat.S_IXGRP
    if not gid or status.st_mode & right != right:
        return f"{path}: you cannot make nextboot links there; as root: {_given(path, gid)}"
    name = _group_name(gid)
    cure = f"; as root: {_joined(name)}"
    if user_name() in (grp.getgrgid(gid).gr_mem if name != str(gid) else ()):
        cure = f" yet: log in again; do: newgrp {shlex.quote(name)}"
    return (
        f"{path}: you cannot make nextboot links there, for you are not in its group {name}{cure}"
    )
