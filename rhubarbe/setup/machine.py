"""The machine that is set up: this one, or one whose files are below a directory of this one."""

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.errors import GatewayError, why

SLASH = Path("/")
ADMINS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WITHIN_S = 120.0
# Packages have to arrive, on some site's line.
PACKAGES_WITHIN_S = 1800.0


@dataclass(frozen=True, slots=True)
class Group:
    """A group: its number, and who is listed in it."""

    gid: int
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine by the directory in which its files are."""

    root: Path = SLASH

    @property
    def is_here(self) -> bool:
        """Whether it is the one that we run on."""
        return self.root == SLASH

    def at(self, path: Path | str) -> Path:
        """Return where a file of it is, for us."""
        return self.root / Path(path).relative_to(SLASH)

    def text_of(self, path: Path | str) -> str:
        """Return what is in one of its files; nothing where it cannot be read."""
        try:
            return self.at(path).read_text("utf-8", "surrogateescape")
        except OSError:
            return ""

    def find(self, program: str) -> Path | None:
        """Return where it has a program, among the administrator's too."""
        places = [Path(place, program) for place in ADMINS_PATH.split(":")]
        return next((place for place in places if os.access(self.at(place), os.X_OK)), None)

    def run(self, *words: str, within_s: float = WITHIN_S) -> str:
        """Run one of its programs to its end, and return what that prints; raises GatewayError."""
        entry = () if self.is_here else ("chroot", str(self.root))
        return run([*entry, *words], within_s)

    def group(self, name: str) -> Group | None:
        """Return a group; None where there is none."""
        if self.is_here:
            try:
                found = grp.getgrnam(name)
            except KeyError:
                return None
            return Group(found.gr_gid, frozenset(found.gr_mem))
        for fields in self._entries("/etc/group"):
            if fields[0] == name:
                return Group(int(fields[2]), frozenset(filter(None, fields[3].split(","))))
        return None

    def group_name(self, gid: int) -> str:
        """Return what a group is called."""
        if self.is_here:
            try:
                return grp.getgrgid(gid).gr_name
            except KeyError:
                return str(gid)
        named = (f[0] for f in self._entries("/etc/group") if f[2] == str(gid))
        return next(named, str(gid))

    def has_user(self, name: str) -> bool:
        """Tell whether there is such a user."""
        if self.is_here:
            try:
                pwd.getpwnam(name)
            except KeyError:
                return False
            return True
        return any(fields[0] == name for fields in self._entries("/etc/passwd"))

    def _entries(self, path: str) -> list[list[str]]:
        lines = [line.split(":") for line in self.text_of(path).splitlines()]
        return [fields for fields in lines if len(fields) > 3 and fields[2].isdecimal()]  # noqa: PLR2004

    def accounts(self, *words: str) -> None:
        """Run a program that changes users or groups; raises GatewayError."""
        program, *rest = words
        prefix = () if self.is_here else ("--prefix", str(self.root))
        run([program, *prefix, *rest], WITHIN_S)

    def installed(self, packages: Sequence[str]) -> list[str]:
        """Return which of these Debian packages are installed."""
        admin = str(self.at("/var/lib/dpkg"))
        form = "--showformat=${Package} ${db:Status-Status}\n"
        query = ["dpkg-query", f"--admindir={admin}", "--show", form, *packages]
        done = _started(query, WITHIN_S)  # its status tells that some are not known
        known = dict(line.split(" ") for line in done.stdout.splitlines() if " " in line)
        return [name for name in packages if known.get(name) == "installed"]

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs it."""
        return self.is_here and Path("/run/systemd/system").is_dir()


def run(words: Sequence[str], within_s: float) -> str:
    """Run a program of this machine to its end, and return what it prints; raises GatewayError."""
    done = _started(words, within_s)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").split(
            "\n"
        )
        raise GatewayError(f"{' '.join(words[:6])}: {said[-1]}")
    return done.stdout


def _started(words: Sequence[str], within_s: float) -> subprocess.CompletedProcess[str]:
    path = shutil.which(words[0]) or shutil.which(words[0], path=ADMINS_PATH)
    if path is None:
        raise GatewayError(f"{words[0]}: no such program on this machine")
    # What programs say is read, so it must be in one language; and apt must ask nothing.
    words_for_us = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(
            [path, *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=within_s,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{ADMINS_PATH}"}
            | words_for_us,
        )
    except subprocess.TimeoutExpired:
        raise GatewayError(f"{words[0]}: has not ended in {within_s:g} s") from None
    except OSError as error:
        raise GatewayError(f"{words[0]}: {why(error)}") from error
