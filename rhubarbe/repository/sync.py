"""Sync: copy images between the repositories of two gateways, with rsync over ssh.

An image arrives under its partial name, whatever is cut short stays there and is gone on with by
the next try, and it gets its name when it is complete and was checked whole. rsync writes in place:
so even what a killed rsync had received is not lost.
"""

import contextlib
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rhubarbe.errors import GatewayError, ImageError, why
from rhubarbe.ndz.mark import image_id
from rhubarbe.repository import (
    PARTIAL,
    SUFFIX,
    OpenImage,
    check_image,
    is_name,
    list_images,
    near_names,
    partial_path,
)
from rhubarbe.repository.bounded import ProgramBounds, run_bounded
from rhubarbe.repository.copying import partial_file
from rhubarbe.shared.directory import READABLE, path_of
from rhubarbe.shared.documents import parse
from rhubarbe.text import sanitise

HOST = re.compile(r"(?:[\w.-]+@)?\[?[\w:.][\w:.-]*\]?")
# How long a peer may take, in seconds: to list its images; to do anything with one, and for each
# byte of it in addition. Any link or disk that is of use is faster.
TO_TELL = 120.0
TO_DO, A_BYTE = 600.0, 1 / (16 << 10)
# The limit of file sizes also holds for ssh, which may have to add a key to known_hosts.
LEAST_WRITTEN = 1 << 20
# No image is larger, in bytes.
LARGEST = 1 << 50
# Letters quoted of what a peer's shell prints besides.
LONGEST_STRAY = 60
# So that a peer that went away is noticed, also in the middle of a transfer.
SSH_OPTIONS = ("-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10")
RSYNC = ("rsync", "--inplace", "--times", "--protect-args", "--timeout=60")


class Verdict(StrEnum):
    """What is to be done with one image."""

    COPY = "to be copied"
    SAME = "there already"
    OTHER = "another image has this name there"
    BAD_NAME = "its name is none for an image"


@dataclass(frozen=True, slots=True)
class Remote:
    """One image as a gateway tells of it; the sender's words are not trusted."""

    name: str
    size: int
    id: str | None
    aliases: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Transfer:
    """One image, and what is to become of it."""

    image: Remote
    verdict: Verdict


class Peer:
    """The other gateway; `shell` is the ssh command, with its options."""

    def __init__(self, host: str, shell: str) -> None:
        if not HOST.fullmatch(host):
            raise GatewayError(f"{host!r}: not a host; give one as ssh takes it")
        self.host = host
        try:
            self.shell = [*shlex.split(shell), *SSH_OPTIONS]
        except ValueError:
            raise GatewayError(f"{shell!r}: no command: a quote stands alone") from None

    def run(self, *words: str, seconds: float = TO_TELL) -> str:
        """Run a command there and return what it says; raises GatewayError with its complaint."""
        remote = [*self.shell, self.host, shlex.join(words)]
        return run_bounded(remote, f"{self.host}: {words[0]}", ProgramBounds(seconds))

    def repository(self) -> tuple[Path, list[Remote]]:
        """Return the directory of its images, and the images."""
        told = self.run("rhubarbe-images", "--json")
        try:
            document = parse(told)[0]
            return _directory(document["directory"]), [_remote(each) for each in document["images"]]
        except (ValueError, LookupError, TypeError) as error:
            raise GatewayError(f"{self.host}: {_lack_of_a_list(told, error)}") from error


def _lack_of_a_list(told: str, error: Exception) -> str:
    """Say what the peer told instead of a list; where its shell speaks, too, what that says."""
    before, opening, _ = told.partition("[{")
    after = told.rpartition("}]")[2]
    for where, said in (("before", before), ("after", after)):
        if opening and (stray := sanitise(said.strip(), LONGEST_STRAY)):
            return (
                f"its shell there prints {where} what rhubarbe-images does, and must not where it"
                f" has no terminal: {stray!r}"
            )
    return f"rhubarbe-images --json does not list images there: {sanitise(repr(error), 200)}"


def _directory(told: object) -> Path:
    """Return where the peer says its images are; raises ValueError for what is no such place."""
    if not isinstance(told, str) or not told.startswith("/") or not told.isprintable():
        raise ValueError("its directory is no absolute path")
    return Path(told)


def _remote(told: dict[str, object]) -> Remote:
    """Return an image as the peer tells of it; raises ValueError for what can be none."""
    name, size, seal = told["name"], told["size"], told["id"]
    if not isinstance(name, str) or not isinstance(size, int) or not 0 <= size <= LARGEST:
        raise ValueError("an image has no name, or no size that may be")
    if seal is not None and not isinstance(seal, str):
        raise ValueError(f"the identity of {name[:80]!r} is no text")
    aliases = told.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise ValueError(f"the aliases of {name[:80]!r} are no names")
    return Remote(name, size, seal, frozenset(aliases))


def local_images(repository: str | Path) -> list[Remote]:
    """Return the images of this gateway in the same form."""
    found: list[Remote] = []
    for image in list_images(repository):
        with contextlib.suppress(ImageError, OSError), OpenImage(image.path) as opened:
            found.append(
                Remote(image.name, image.size, image_id(opened.file), frozenset(image.aliases))
            )
    return found


def compare(
    source: Sequence[Remote], target: Sequence[Remote], names: Sequence[str]
) -> list[Transfer]:
    """Return what is to be done for these images, or for all; raises ImageError for a strange name.

    Images are the same when their seals are of one image, or without seals when their sizes are.
    """
    by_name = {image.name: image for image in source}
    there = {image.name: image for image in target}
    wanted = [name.removesuffix(SUFFIX) for name in names] or sorted(by_name)
    for name in wanted:
        if name not in by_name:
            if called := next((each for each in source if name in each.aliases), None):
                raise ImageError(
                    f"{name}: is an alias, and these are not copied; the image is {called.name}"
                )
            near = near_names(name, by_name)
            hint = f"near names: {', '.join(near)}" if near else "none has a near name"
            raise ImageError(f"{name}: no such image to be copied; {hint}")
    return [Transfer(by_name[name], _verdict(by_name[name], there.get(name))) for name in wanted]


def _verdict(image: Remote, other: Remote | None) -> Verdict:
    if not is_name(image.name + SUFFIX):
        return Verdict.BAD_NAME
    if other is None:
        return Verdict.COPY
    return Verdict.SAME if (image.size, image.id) == (other.size, other.id) else Verdict.OTHER


@dataclass(frozen=True, slots=True)
class Route:
    """Between which directories; `shows` lets rsync draw its progress."""

    peer: Peer
    here: Path
    there: Path
    shows: bool = False

    def pull(self, image: Remote) -> None:
        """Fetch one image; raises GatewayError, ImageError. What is cut short stays partial."""
        final = self.here / f"{image.name}{SUFFIX}"
        partial = partial_path(final)
        with partial_file(partial) as opened:
            here = opened.directory
            try:
                here.require_trust()  # rsync opens what has the name
            except OSError as error:
                raise ImageError(why(error)) from error
            self._rsync(
                self._remote(f"{image.name}{SUFFIX}"),
                f"{path_of(here.descriptor)}/{partial.name}",
                [f"--max-size={image.size}"],
                # Only the sender regards this option.
                self._bounds(
                    image,
                    max(image.size, LEAST_WRITTEN),
                    [opened.descriptor, here.descriptor],
                ),
            )
            _mend_time(opened.descriptor)
            try:
                check_image(partial, file=opened.file)
                opened.publish(final.name, READABLE)
            except ImageError:
                opened.forget()  # removed, since going on with it would not repair it
                raise
            except FileExistsError as error:
                raise ImageError(f"{final}: exists already") from error
            except OSError as error:
                raise ImageError(f"{partial}: cannot be named {final}: {why(error)}") from error

    def push(self, image: Remote) -> None:
        """Send one image, which the other gateway checks; raises GatewayError, ImageError."""
        with OpenImage(self.here / f"{image.name}{SUFFIX}") as opened:
            opened.check()
            self.peer.run("rhubarbe-share", "--receiving", "--", image.name)
            target = self._remote(f"{image.name}{SUFFIX}{PARTIAL}")
            bounds = self._bounds(image, keeps=[opened.descriptor])
            self._rsync(opened.file, target, ["--copy-links"], bounds)
        received = ("rhubarbe-share", "--received", "--", image.name)
        self.peer.run(*received, seconds=_limit_s(image.size))

    def _remote(self, name: str) -> str:
        return f"{self.peer.host}:{self.there / name}"

    def _bounds(
        self, image: Remote, written: int | None = None, keeps: Sequence[int] = ()
    ) -> ProgramBounds:
        return ProgramBounds(_limit_s(image.size), written, keeps, _draw if self.shows else None)

    def _rsync(
        self, source: str, target: str, options: Sequence[str], bounds: ProgramBounds
    ) -> None:
        progress = ["--info=progress2"] if self.shows else []
        shell = ["-e", shlex.join(self.peer.shell)]
        words = [*RSYNC, *progress, *options, *shell, "--", source, target]
        try:
            run_bounded(words, "rsync", bounds)
        except GatewayError as error:
            said = str(error)
            for descriptor in bounds.keeps:
                file = path_of(descriptor)
                said = said.replace(file, str(Path(file).readlink()))
            raise GatewayError(f"{said}; what arrived is kept: run it again to go on") from error
        finally:
            if self.shows:
                _draw("\n")


def _limit_s(size: int) -> float:
    return TO_DO + size * A_BYTE


def _draw(progress: str) -> None:
    """Draw over what was drawn before, on our own terminal."""
    sys.stdout.write(f"\r{progress}\x1b[K" if progress.strip() else progress)
    sys.stdout.flush()


def _mend_time(descriptor: int) -> None:
    """Give a file the present time where the one that the sender told makes no sense."""
    if not 0 <= os.fstat(descriptor).st_mtime <= time.time():
        os.utime(descriptor)
