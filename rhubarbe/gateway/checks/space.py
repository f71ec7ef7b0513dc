"""How much a file may still grow: by the free space of its disk, and by our limit on files.

A quota is not known before it is met.
"""

import os
import resource
from pathlib import Path

from rhubarbe.shared.directory import Directory


def free_space(directory: Path) -> int | None:
    """Return how many bytes a new file there may have, as far as that is known; raises OSError."""
    with Directory.open(directory, follows=True) as opened:
        there = os.statvfs(opened.descriptor)
    known: list[int] = []
    if there.f_blocks:  # some file systems tell nothing of themselves
        known.append(there.f_frsize * (there.f_bavail if os.geteuid() else there.f_bfree))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY:
        known.append(limit)
    return min(known, default=None)
