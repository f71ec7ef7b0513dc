"""Debian packages by apt, without root: into a cache of the user's, and unpacked there.

apt is told that nothing is installed and has its state in the cache, so that neither what is
installed on this machine nor its user matter. Its sources and keys are this machine's.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from rhubarbe.annexe.errors import ProgramFailed
from rhubarbe.ramdisk_builder import output, programs
from rhubarbe.ramdisk_builder.errors import PackageError

LISTS = Path("/var/lib/apt/lists")
LIBRARIES = frozenset({"libs", "oldlibs", "python"})
"""Sections of the packages that are taken along with those that need them."""
_URI = re.compile(r"'[^']+' (\S+_\S+\.deb) \d+")
DOWNLOAD_LIMIT_S = 900
UNPACK_LIMIT_S = 300


def default_cache() -> Path:
    """Return where packages are kept between builds: a directory that may be removed any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "rhubarbe" / "netboot"


class Packages:
    """The packages of this machine's Debian; `cache` is the directory they are kept in.

    They are for this machine's architecture, or for another one.
    """

    def __init__(self, cache: Path, architecture: str = "") -> None:
        self._cache = cache
        self._other = architecture
        self._has_updated = False

    def of(self, architecture: str) -> "Packages":
        """Return those of another architecture, in the same cache."""
        return Packages(self._cache, architecture)

    def update(self) -> None:
        """Learn what packages there are today; raises PackageError."""
        with self._locked():
            self._update()

    def unpack(self, names: Collection[str], sections: Collection[str] = LIBRARIES) -> Path:
        """Return a directory with the files of packages, and of those that they need.

        Of those that they need only what is in one of the sections is there. The directory is
        shared with other builds: it is only read. Raises PackageError.
        """
        with self._locked():
            try:
                return self._unpack(names, sections)
            except ProgramFailed:
                if self._has_updated:
                    raise
            self._update()
            return self._unpack(names, sections)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one build at a time work on the cache; tell errors as what they mean for packages."""
        try:
            for name in ("apt/archives/partial", f"lists{self._other}/partial", "debs", "roots"):
                (self._cache / name).mkdir(parents=True, exist_ok=True)
            (self._cache / "status").touch()
            with (self._cache / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except ProgramFailed as error:
            raise PackageError(f"Debian packages cannot be had: {error}") from error
        except OSError as error:
            raise PackageError(f"the cache of packages cannot be used: {error}") from error

    def _update(self) -> None:
        self._has_updated = True
        self._apt("apt-get", "update", "-qq", lists=self._cache / f"lists{self._other}")

    def _apt(
        self, program: str, *words: str, lists: Path | None = None, directory: Path | None = None
    ) -> str:
        options = {
            "Dir::State": self._cache / "apt",
            "Dir::State::status": self._cache / "status",
            "Dir::State::lists": lists or self._lists(),
            "Dir::Cache": self._cache / "apt",
            "Dir::Cache::pkgcache": f"pkgcache{self._other}.bin",
            "Dir::Cache::srcpkgcache": f"srcpkgcache{self._other}.bin",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "",
            "APT::Install-Recommends": "0",
            "APT::Get::List-Cleanup": "0",
            "Acquire::Retries": "2",
            "Dpkg::Use-Pty": "0",
        }
        if self._other:
            options |= {"APT::Architecture": self._other, "APT::Architectures::": self._other}
        listed = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return programs.run(
            [programs.find(program), *listed, *words], limit=DOWNLOAD_LIMIT_S, directory=directory
        )

    def _lists(self) -> Path:
        """Our own lists of packages if we ever had to fetch them, else this machine's."""
        own = self._cache / f"lists{self._other}"
        return own if any(own.glob("*_Packages*")) else LISTS

    def _unpack(self, names: Collection[str], sections: Collection[str]) -> Path:
        files = self._chosen(names, sections)
        root = self._cache / "roots" / _key(*files)
        if not root.is_dir():
            self._download([file for file in files if not self._deb(file).exists()])
            self._unpack_into(root, files)
        return root

    def _deb(self, file: str) -> Path:
        return self._cache / "debs" / file

    def _chosen(self, names: Collection[str], sections: Collection[str]) -> list[str]:
        """Choose, unless that was done from the same lists of packages before."""
        lists = [(file.name, file.stat().st_mtime_ns) for file in sorted(self._lists().glob("*"))]
        asked = (*sorted(names), "in", *sorted(sections), *([self._other] if self._other else []))
        note = self._cache / "chosen" / _key(*asked, *(f"{name} {time}" for name, time in lists))
        if note.exists():
            return note.read_text().splitlines()
        files = self._choose(names, sections)
        with output.replacing(note) as file:
            file.write("".join(f"{name}\n" for name in files).encode())
        return files

    def _choose(self, names: Collection[str], sections: Collection[str]) -> list[str]:
        """Return the file names of the packages, and of those that they need in the sections."""
        told = self._apt(
            "apt-get", "install", "-qq", "-y", "--no-install-recommends", "--print-uris", *names
        )
        files = {file.partition("_")[0]: file for file in _URI.findall(told)}
        shown = self._apt("apt-cache", "show", "--no-all-versions", *files)
        kept = {name for name, section in _sections(shown) if section in sections} | set(names)
        return sorted(file for name, file in files.items() if name in kept)

    def _download(self, files: list[str]) -> None:
        if not files:
            return
        wanted = [_with_version(file) for file in files]
        with tempfile.TemporaryDirectory(dir=self._cache, prefix="fetch-") as name:
            self._apt("apt-get", "download", "-qq", *wanted, directory=Path(name))
            for file in files:
                (Path(name) / file).replace(self._deb(file))

    def _unpack_into(self, root: Path, files: list[str]) -> None:
        dpkg = programs.find("dpkg-deb")
        unfinished = Path(tempfile.mkdtemp(dir=root.parent, prefix="unfinished-"))
        try:
            for file in files:
                words = [dpkg, "-x", str(self._deb(file)), str(unfinished)]
                programs.run(words, limit=UNPACK_LIMIT_S)
            unfinished.rename(root)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _key(*words: str) -> str:
    """Return a name for these words, short enough for a directory."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _sections(shown: str) -> Iterator[tuple[str, str]]:
    """Yield name and section of each package of `apt-cache show`; the section has no area."""
    for stanza in shown.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Section): (\S+)$", stanza, re.MULTILINE))
        if "Package" in fields:
            yield fields["Package"], fields.get("Section", "").rpartition("/")[2]


def _with_version(file: str) -> str:
    """Return NAME=VERSION of a file NAME_VERSION_ARCHITECTURE.deb, whose colons are escaped."""
    name, version, _ = file.split("_")
    return f"{name}={version.replace('%3a', ':')}"
