"""What each user is told once, however many commands would tell it.

A file in the user's home holds digests of what was told, and no more. Where it cannot be kept,
everything is told each time.
"""

import hashlib
import os
from pathlib import Path

from rhubarbe.shared.own import open_own, read_file

LARGEST = 1 << 16


def is_news(text: str) -> bool:
    """Tell whether this user was not told a text before; from now on, he was."""
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()
    try:
        path = _place()
        if digest in (read_file(path, LARGEST) or b"").decode("ascii", "replace").split():
            return False
        kept = open_own(path, os.O_WRONLY | os.O_APPEND, 0o600)
        with os.fdopen(kept, "a", encoding="ascii") as file:
            file.write(f"{digest}\n")
    except OSError:
        return True
    return True


def _place() -> Path:
    """Return the file, whose directory is there; raises OSError where the home is not our own."""
    home = Path(os.environ.get("HOME", "/nowhere"))
    if home.stat().st_uid != os.getuid():  # of whom sudo was called by
        raise PermissionError(home)
    state = os.environ.get("XDG_STATE_HOME", "")
    directory = Path(state if state.startswith("/") else home / ".local" / "state") / "rhubarbe"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / "told"
