"""What all users of this gateway share is for all to read, whatever the umask of who makes it."""

import os
from pathlib import Path

# Everybody may add to a shared directory; nobody may remove what another made.
SHARED = 0o1777
ENTERED = 0o755
READABLE = 0o644


def make_shared_directory(directory: Path) -> None:
    """Make a directory that all users write into, unless it is there; raises OSError."""
    if directory.is_dir():
        return
    for above in [each for each in reversed(directory.parents) if not each.is_dir()]:
        above.mkdir(exist_ok=True)
        above.chmod(ENTERED)
    directory.mkdir(exist_ok=True)
    directory.chmod(SHARED)


def create_readable(path: Path, flags: int) -> int:
    """Create a file for all to read, and return its descriptor; raises OSError."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, READABLE)
    try:
        os.fchmod(descriptor, READABLE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
