"""Giving an open file its name, also where its former name is another file's meanwhile."""

import contextlib
import os

from rhubarbe.shared.directory import Directory, fresh_name, path_of


def place(
    descriptor: int,
    former: tuple[Directory, str],
    directory: Directory,
    name: str,
    *,
    replaces: bool = False,
) -> None:
    """Give a whole file one more name, written to the disk; it keeps its former one.

    Raises FileExistsError unless it `replaces` what has the name, or another OSError. Where the
    file system has no hard links, the former name is renamed, if it is still that file's.
    """
    os.fsync(descriptor)
    try:
        _link(descriptor, directory, name, replaces=replaces)
    except FileExistsError:
        raise
    except OSError:
        if directory.has(name) and not replaces:
            raise FileExistsError(f"{directory.where(name)}: exists already") from None
        there, old = former
        if not there.is_named(old, descriptor):
            raise
        os.replace(old, name, src_dir_fd=there.descriptor, dst_dir_fd=directory.descriptor)
    directory.sync()


def _link(descriptor: int, directory: Directory, name: str, *, replaces: bool) -> None:
    source, there = path_of(descriptor), directory.descriptor
    new = fresh_name("draft") if replaces else name
    # Python follows the link to be linked only where a descriptor is given.
    os.link(source, new, src_dir_fd=there, dst_dir_fd=there)
    if replaces:
        try:
            directory.rename(new, name)
        finally:
            directory.remove(new)


def forget(descriptor: int, directory: Directory, name: str) -> None:
    """Remove the name of an open file, unless something else has it meanwhile; raises OSError."""
    if directory.is_named(name, descriptor):
        with contextlib.suppress(FileNotFoundError):
            directory.unlink(name)
