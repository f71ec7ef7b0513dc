"""Sync: copy images between the repositories of two gateways, with rsync over ssh.

An image arrives under its partial name, whatever is cut short stays there and is gone on with by
the next try, and it gets its name when it is complete and was checked whole. rsync writes in place:
so even what a killed rsync had received is not lost.
"""

import contextlib
import os
import re
import selectors
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rhubarbe.errors import GatewayError, ImageError, why
from rhubarbe.images import (
    PARTIAL,
    SUFFIX,
    OpenImage,
    check_image,
    is_name,
    list_images,
    near_names,
    partial_path,
)
from rhubarbe.images.copying import partial_file
from rhubarbe.ndz.mark import image_id
from rhubarbe.shared.directory import READABLE, path_of
from rhubarbe.shared.documents import parse
from rhubarbe.text import sanitise

HOST = re.compile(r"(?:[\w.-]+@)?\[?[\w:.][\w:.-]*\]?")
PATIENCE = 5.0
# Of what a peer may tell: of some ten thousand images.
MOST_TOLD = 8 << 20
PIECE = 1 << 16
# No image is larger, in bytes.
LARGEST = 1 << 50
# A peer that went away is noticed, also in the middle of a transfer.
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

    def run(self, *words: str) -> str:
        """Run a command there and return what it says; raises GatewayError with its complaint."""
        return _run([*self.shell, self.host, shlex.join(words)], f"{self.host}: {words[0]}")

    def repository(self) -> tuple[Path, list[Remote]]:
        """Return the directory of its images, and the images."""
        told = self.run("rhubarbe-images", "--json")
        try:
            document = parse(told)[0]
            return _directory(document["directory"]), [_remote(each) for each in document["images"]]
        except (ValueError, LookupError, TypeError) as error:
            raise GatewayError(
                f"{self.host}: rhubarbe-images --json does not list images there:"
                f" {sanitise(repr(error), 200)}"
            ) from error


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
    return Remote(name, size, seal)


def _run(words: Sequence[str], who: str, *, shows: bool = False, keeps: Sequence[int] = ()) -> str:
    """Run a program to its end, whatever happens to us; return its output unless it shows it.

    It keeps these descriptors open, so that the lock on a file lasts as long as who writes it.
    """
    try:
        child = subprocess.Popen(
            words,
            stdin=None if sys.stdin.isatty() else subprocess.DEVNULL,
            stdout=None if shows else subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=keeps,
        )
    except OSError as error:
        raise GatewayError(f"{words[0]}: cannot be run: {error.strerror}") from error
    with child:
        try:
            output, complaint = _said(child)
        except BaseException:
            _end(child)
            raise
    if len(output) > MOST_TOLD:
        raise GatewayError(f"{who} says more than {MOST_TOLD} bytes, and was ended")
    if child.returncode:
        lines = complaint.decode(errors="replace").split("\n")
        raise GatewayError(f"{who} failed ({child.returncode}): {_first(lines)}")
    return output.decode(errors="replace")


def _said(child: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return the output of a child, and its complaints; one that says too much is ended."""
    told = {child.stdout: bytearray(), child.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in filter(None, told):
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                piece = os.read(key.fd, PIECE)
                kept = told[key.fileobj]  # type: ignore[index]
                if not piece:
                    selector.unregister(key.fileobj)
                elif len(kept) <= MOST_TOLD:
                    kept += piece
                elif key.fileobj is child.stdout:
                    child.kill()
    child.wait()
    return bytes(told[child.stdout]), bytes(told[child.stderr])


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()


def _first(lines: list[str]) -> str:
    """Return the first line that is one, of what another machine may have written."""
    line = next((line for line in lines if line.strip()), "it does not say why")
    return sanitise(line, 300)


def local_images(repository: str | Path) -> list[Remote]:
    """Return the images of this gateway in the same form."""
    found: list[Remote] = []
    for image in list_images(repository):
        with contextlib.suppress(ImageError, OSError), OpenImage(image.path) as opened:
            found.append(Remote(image.name, image.size, image_id(opened.file)))
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
                [opened.descriptor, here.descriptor],
                [f"--max-size={image.size}"],
            )
            try:
                check_image(partial, file=opened.file)
                opened.publish(final.name, READABLE)
            except ImageError:
                opened.forget()  # going on with what is damaged would not mend it
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
            self._rsync(
                opened.file,
                self._remote(f"{image.name}{SUFFIX}{PARTIAL}"),
                [opened.descriptor],
                ["--copy-links"],
            )
        self.peer.run("rhubarbe-share", "--received", "--", image.name)

    def _remote(self, name: str) -> str:
        return f"{self.peer.host}:{self.there / name}"

    def _rsync(
        self, source: str, target: str, keeps: Sequence[int] = (), bounds: Sequence[str] = ()
    ) -> None:
        progress = ["--info=progress2"] if self.shows else []
        words = [
            *RSYNC,
            *progress,
            *bounds,
            "-e",
            shlex.join(self.peer.shell),
            "--",
            source,
            target,
        ]
        try:
            _run(words, "rsync", shows=self.shows, keeps=keeps)
        except GatewayError as error:
            said = str(error)
            for descriptor in keeps:
                file = path_of(descriptor)
                said = said.replace(file, str(Path(file).readlink()))
            raise GatewayError(f"{said}; what arrived is kept: run it again to go on") from error
