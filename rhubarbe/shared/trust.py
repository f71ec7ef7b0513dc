"""Whose a thing is, and who else could have put it there: what is taken, and what is refused."""

import os
import pwd
import stat
from collections.abc import Iterator

from rhubarbe.errors import RhubarbeError
from rhubarbe.writers import may_others_write


class Distrust(RhubarbeError, OSError):
    """Something is not what it must be for us to touch it; the words say how to repair it.

    An OSError, for who tells of a file; and where nobody does, one line all the same.
    """


def name_of(uid: int) -> str:
    """Return what the user of this number is called."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def user_name() -> str:
    """Return who we are as the kernel knows it: $USER may lie, and there may be no terminal."""
    return name_of(os.getuid())


def is_ours(status: os.stat_result) -> bool:
    """Whether it is root's or our own."""
    return status.st_uid in {0, os.getuid()}


def _strange(path: str, status: os.stat_result, why: str) -> str:
    """Return the sentence on what neither root nor we own, with its cure."""
    return f"{path}: belongs to {name_of(status.st_uid)}, {why}; as root: chown root {path}"


def is_closed(directory: int) -> bool:
    """Whether nobody but root and us can make, rename or remove anything in an open directory."""
    return is_ours(os.fstat(directory)) and not may_others_write(directory)


def is_kept(directory: int) -> bool:
    """Whether nobody else can rename or remove what is root's or ours in an open directory."""
    status = os.fstat(directory)
    is_sticky = bool(status.st_mode & stat.S_ISVTX)
    return is_ours(status) and (is_sticky or not may_others_write(directory))


def require_kept(directory: int, path: str) -> None:
    """Raise Distrust where somebody but root and us could remove or rename what is in it."""
    status = os.fstat(directory)
    if not is_ours(status):
        raise Distrust(_strange(path, status, "who could remove anything there"))
    if not is_kept(directory):
        raise Distrust(f"{path}: anybody could remove anything there; as root: chmod +t {path}")


def replaceable(path: str) -> Iterator[str]:
    """Yield a sentence, with its cure, for each directory above one that a stranger could rename.

    Whoever can do so can put another in its place. The path leads through no link.
    """
    above = path
    while above != "/":
        above = os.path.dirname(above)
        directory = os.open(above, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(directory)
            if not is_ours(status):
                yield _strange(above, status, f"who could replace {path}")
            elif not is_kept(directory):
                who = "anybody" if status.st_mode & stat.S_IWOTH else "others of its group"
                yield f"{above}: {who} could replace {path}; as root: chmod +t {above}"
        finally:
            os.close(directory)


def require_link(directory: int, link: os.stat_result, path: str) -> None:
    """Raise Distrust for a link that somebody else may have laid: it may lead anywhere.

    Where others may write, a second name of a link that is root's may be another's doing.
    """
    if not is_ours(link):
        raise Distrust(
            f"{path}: is a link that {name_of(link.st_uid)} made, and is not followed;"
            " name what it leads to"
        )
    if not (is_closed(directory) or (is_kept(directory) and link.st_nlink == 1)):
        raise Distrust(
            f"{path}: is a link where others may rename it, and is not followed;"
            " name what it leads to"
        )


def require_file(
    status: os.stat_result,
    path: str,
    owner: int | None = None,
    directory: int | None = None,
) -> None:
    """Raise Distrust unless it is a regular file of its owner's, which has no second name.

    Without an owner, anybody's. A second name does not matter in an open `directory` in which only
    the owner of the file could have made it, or root or we.
    """
    if not stat.S_ISREG(status.st_mode):
        raise Distrust(f"{path}: is no file")
    if owner is not None and status.st_uid != owner:
        raise Distrust(f"{path}: belongs to {name_of(status.st_uid)}, and not to {name_of(owner)}")
    if status.st_nlink > 1 and (directory is None or not _is_of_those(status, directory)):
        raise Distrust(f"{path}: also has another name; remove this one")


def require_site_s(file: int, path: str) -> None:
    """Raise Distrust unless an open file is root's or ours, and not for anybody to write."""
    status = os.fstat(file)
    if not is_ours(status):
        raise Distrust(_strange(path, status, "neither you nor root"))
    if status.st_mode & stat.S_IWOTH:
        raise Distrust(f"{path}: anybody can write it; do: chmod o-w {path}")


def _is_of_those(file: os.stat_result, directory: int) -> bool:
    is_theirs = os.fstat(directory).st_uid in {0, os.getuid(), file.st_uid}
    return is_theirs and not may_others_write(directory, [file.st_uid])
