"""What is wrong with the directories that users of this gateway share, and how to repair it."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.config import Settings
from rhubarbe.errors import why
from rhubarbe.shared.directory import Directory, name_of
from rhubarbe.shared.state import SHARED, user_in

OTHERS = stat.S_IWGRP | stat.S_IWOTH
# Where users who load may remove each other's dead links; files made there are of its group.
FOR_A_GROUP = 0o2775
_OF_OLD = re.compile(r"locks|links|history|leases\.\d+\.sqlite")


def faults(settings: Settings) -> list[str]:
    """Return a sentence for each thing that is wrong, with its cure; reads directories only."""
    return [
        *_of_state(Path(settings.testbed.state_dir)),
        *_of_links(Path(settings.pxelinux.config_dir)),
        *_of_images(Path(settings.frisbee.images_dir)),
    ]


def _opened(path: Path, cure: str, found: list[str]) -> Directory | None:
    """Open a directory; where that cannot be, add to what was found."""
    try:
        return Directory.open(path)
    except OSError as error:
        if path.is_symlink():
            found.append(f"{path}: is a link; configure what it leads to: {path.resolve()}")
        else:
            found.append(f"{path}: {why(error)}; {cure}")
        return None


def _of_state(path: Path) -> list[str]:
    found: list[str] = []
    cure = f"as root: mkdir -p {path}; chmod {SHARED:o} {path}"
    directory = _opened(path, cure, found)
    if directory is None:
        return found
    with directory:
        try:
            directory.require_trust()
        except OSError as error:
            found.append(str(error))
        status = directory.status
        if status.st_uid == 0 and not status.st_mode & stat.S_IWOTH:
            found.append(
                f"{path}: only root can note anything there; as root: chmod {SHARED:o} {path}"
            )
        for name in directory.names():
            found += _of_entry(directory, name)
    return found


def _of_entry(state: Directory, name: str) -> Iterator[str]:
    path, uid = state.path / name, user_in(name)
    if uid is None:
        if _OF_OLD.fullmatch(name):
            yield f"{path}: an earlier version kept it, and nothing reads it; as root: rm -r {path}"
        return
    try:
        status = os.stat(name, dir_fd=state.descriptor, follow_symlinks=False)
    except OSError as error:
        yield f"{path}: {why(error)}"
        return
    if status.st_uid != uid or not stat.S_ISDIR(status.st_mode):
        yield (
            f"{path}: belongs to {name_of(status.st_uid)}, though it has the name of"
            f" {name_of(uid)}'s directory; as root: rm -r {path}"
        )
    elif status.st_mode & OTHERS:
        yield f"{path}: others can write what {name_of(uid)} keeps there; do: chmod go-w {path}"


def _of_links(path: Path) -> list[str]:
    found: list[str] = []
    directory = _opened(path, "see config_dir in [pxelinux]", found)
    if directory is None:
        return found
    cure = f"as root: chgrp GROUP {path}; chmod {FOR_A_GROUP:o} {path}, GROUP being who may load"
    with directory:
        status = directory.status
    if status.st_uid != 0 and status.st_uid != os.getuid():
        found.append(f"{path}: belongs to {name_of(status.st_uid)}; as root: chown root {path}")
    if status.st_mode & stat.S_IWOTH:
        found.append(f"{path}: anybody can make nodes boot anything; {cure}")
    elif status.st_mode & stat.S_ISVTX and status.st_mode & stat.S_IWGRP:
        found.append(f"{path}: nobody but root can remove another's dead link; {cure}")
    elif not os.access(path, os.W_OK | os.X_OK):
        found.append(f"{path}: you cannot make nextboot links there; {cure}")
    return found


def _of_images(path: Path) -> list[str]:
    found: list[str] = []
    real = Path(os.path.realpath(path))
    directory = _opened(real, "see images_dir in [frisbee]", found)
    if directory is None:
        return found
    with directory:
        try:
            directory.require_trust()
        except OSError as error:
            found.append(str(error))
    return found
