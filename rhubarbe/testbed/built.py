"""What takes long to build, kept between runs: ramdisk, sample system and image, by what made them.

A place is named by a digest of the arguments and of our own programs, which go into the ramdisk; it
has its name only when all in it is whole, and is never changed then.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.testbed import keys, programs
from rhubarbe.version import version

ROOMS = ("annexe", "disk", "ndz", "imaging", "frisbee", "ramdisk_builder")
BUILD_LIMIT_S = 900.0  # packages come from far away
LOOK_EVERY_S = 0.2
SECTOR = 512
ROOT_ENTRY = 2 * SECTOR  # in the partition table


@dataclass(frozen=True, slots=True)
class Built:
    """A directory of things that are built: of the ramdisk, of the system and its key."""

    directory: Path

    @property
    def exists(self) -> bool:
        """Whether it is there, and then all of it."""
        return self.directory.is_dir()

    @property
    def ramdisk(self) -> Path:
        """Where vmlinuz, initrd and pxelinux.cfg/pxefrisbee are."""
        return self.directory / "ramdisk"

    @property
    def system(self) -> Path:
        """A disk with the sample system."""
        return self.directory / "system.img"

    @property
    def image(self) -> Path:
        """The same as an image."""
        return self.directory / "sample.ndz"

    @property
    def key(self) -> Path:
        """The private key that the system lets in."""
        return self.directory / "id_ed25519"


async def built(
    cache: Path, system_options: Sequence[str], *, kernel: str = "cloud", by_ssh: bool = False
) -> Built:
    """Find what is built in `cache`, or build it, which takes a minute.

    The ramdisk offers its shell by telnet, or `by_ssh` only, with the key of the system; both have
    a `kernel` of rhubarbe-ramdisk's.

    Raises ProgramFailed, with what rhubarbe-ramdisk says is missing.
    """
    options = ("--kernel", kernel, *system_options)
    there = Built(cache / _digest((*options, *(["by ssh"] if by_ssh else []))))
    if not there.exists:
        async with _alone(cache):
            if not there.exists:
                await _build(there, options, kernel, by_ssh=by_ssh)
    return there


def root_offset(disk: Path) -> int:
    """Return where the root partition of a sample system begins, in bytes: the first of its GPT."""
    with disk.open("rb") as file:
        file.seek(ROOT_ENTRY)
        start: int = struct.unpack("<32xQ", file.read(40))[0]
    return start * SECTOR


def default_cache() -> Path:
    """Where it is kept: in the user's own cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "rhubarbe" / "testbed"


def _digest(words: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    package = programs.CHECKOUT / "rhubarbe"
    ours = (path for room in ROOMS for path in (package / room).rglob("*"))
    for path in sorted((*package.glob("*.py"), *ours)):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return f"{version()}-{digest.hexdigest()[:16]}"


def _make(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)


@asynccontextmanager
async def _alone(cache: Path) -> AsyncIterator[None]:
    """Wait for others that build in this cache."""
    _make(cache)
    with (cache / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOOK_EVERY_S)
        yield


async def _build(there: Built, system_options: Sequence[str], kernel: str, *, by_ssh: bool) -> None:
    """Build in a directory beside, which has the name of the place when all is done."""
    for left_behind in there.directory.parent.glob(".building-*"):
        shutil.rmtree(left_behind)
    with tempfile.TemporaryDirectory(dir=there.directory.parent, prefix=".building-") as name:
        new = Built(Path(name) / "new")
        new.directory.mkdir()
        new.directory.chmod(0o755)  # whatever our umask: what is served is in it
        keys.write_pair(new.key)
        public = str(new.key.with_suffix(".pub"))
        shell = ("--ssh-key", public, "--no-telnet") if by_ssh else ()
        await _ramdisk("build", "--kernel", kernel, "--output", str(new.ramdisk), *shell)
        await _ramdisk("system", "--output", str(new.system), "--ssh-key", public, *system_options)
        imagezip = programs.python_program("rhubarbe.imaging.imagezip", "imagezip")
        await programs.run([*imagezip, "-o", "-z1", str(new.system), str(new.image)], limit=300)
        new.directory.rename(there.directory)


async def _ramdisk(*words: str) -> None:
    name = "rhubarbe-ramdisk"
    program = programs.python_program("rhubarbe.ramdisk_builder.command", name)
    await programs.run([*program, *words], limit=BUILD_LIMIT_S, name=name)
