"""Which host keys a node may show: by files in the format of OpenSSH's `known_hosts`.

They are read as OpenSSH reads them, but stricter where that would take a stranger: a node of which
anything is known must show a key that is known, be it of another type, or without a certificate.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import ConfigError, Mistrusted, Refused, why
from rhubarbe.shared.own import read_trusted
from rhubarbe.shared.trust import Distrust

if TYPE_CHECKING:
    import asyncssh


SSH_PORT = 22
MOST_BYTES = 16 << 20
READ_WITHIN_S = 10.0
AUTHORITY = "@cert-authority"
REVOKED = "@revoked"
MARKERS = ("", AUTHORITY, REVOKED)
_HASHED = re.compile(r"\|1\|([A-Za-z0-9+/=]+)\|([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which node is to answer, by its name, and the file that knows its host keys, if there is one.

    Where that `is_strict`, a node that is not in the file is refused, else taken.
    """

    name: str = ""
    file: Path | None = None
    is_strict: bool = False

    @classmethod
    def of(cls, name: str, networking: NetworkingSettings, *, ramdisk: bool = False) -> Identity:
        """Return what is known of a node's own system, or of the ramdisk on it."""
        file = networking.ramdisk_known_hosts if ramdisk else networking.known_hosts
        return cls(name, file, networking.strict_host_key_checking == "yes")


ANYBODY = Identity()


async def require_files(networking: NetworkingSettings) -> None:
    """Raise ConfigError where a file that is to be used cannot be read, or lacks altogether."""
    if networking.strict_host_key_checking == "yes" and not networking.known_hosts:
        raise ConfigError(
            "strict_host_key_checking = yes in [networking] refuses nodes that are not in"
            " known_hosts, which names no file"
        )
    for name in ("known_hosts", "ramdisk_known_hosts"):
        file = getattr(networking, name)
        try:
            if file:
                await in_passing(READ_WITHIN_S, _require_keys, file)
        except OSError as error:
            raise ConfigError(f"{name} in [networking]: {_fault(file, error)}") from error


def _require_keys(path: Path) -> None:
    """Raise OSError for a file that cannot be read, or in which no line holds a key."""
    lines = _lines(_read(path))
    if lines and not any(line.marker in MARKERS and _imported(line.key) for line in lines):
        raise OSError(f"no line holds a host key; the first is line {lines[0].number}")


def _fault(file: Path, error: OSError) -> str:
    return str(error) if isinstance(error, Distrust) else f"{file}: {why(error)}"


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file: for which hosts it holds, and what it says of their key."""

    number: int
    marker: str
    hosts: str
    key: str

    def is_for(self, names: Iterable[str]) -> bool:
        """Tell whether it is for one of these names, and excludes none of them."""
        if hashed := _HASHED.fullmatch(self.hosts):
            salt, expected = map(_decoded, hashed.groups())
            return any(_hash(salt, name) == expected for name in names)
        found = False
        for pattern in self.hosts.lower().split(","):
            matcher = _matcher(pattern.removeprefix("!"))
            if any(matcher.fullmatch(name) for name in names):
                if pattern.startswith("!"):
                    return False
                found = True
        return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def _hash(salt: bytes, name: str) -> bytes:
    return hmac.new(salt, name.encode(), hashlib.sha1).digest()


@functools.lru_cache(4096)
def _matcher(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+|\?)", pattern)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(part[:1]) or re.escape(part) for part in parts), re.DOTALL)


@functools.lru_cache(4)
def _lines(text: str) -> tuple[_Line, ...]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        marker = words[0] if words[0].startswith("@") else ""
        hosts, _, key = (words[-1] if marker else line.strip()).replace("\t", " ").partition(" ")
        found.append(_Line(number, marker, hosts, key.strip()))
    return tuple(found)


@dataclass(slots=True)
class KnownKeys:
    """What is known of the host keys of one node; `unread` are the lines that hold no key."""

    identity: Identity
    trusted: list[tuple[int, asyncssh.SSHKey]] = field(default_factory=list)
    authorities: list[asyncssh.SSHKey] = field(default_factory=list)
    revoked: list[asyncssh.SSHKey] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)

    def take(self, line: _Line) -> None:
        """Take what a line says of the node."""
        key = _imported(line.key)
        if key is None or line.marker not in MARKERS:
            self.unread.append(line.number)
        elif line.marker == AUTHORITY:
            self.authorities.append(key)
        elif line.marker == REVOKED:
            self.revoked.append(key)
        else:
            self.trusted.append((line.number, key))

    @property
    def is_known(self) -> bool:
        """Whether the file says which key the node has."""
        return bool(self.trusted or self.authorities or self.unread)

    def judge(self, shown: asyncssh.SSHKey) -> None:
        """Take the key that a node shows, or raise Mistrusted, which says why, by fingerprints."""
        file, words = self.identity.file, f"its host key is {described(shown)}"
        if shown in self.revoked:
            raise Mistrusted(f"{words}, which is revoked in {file}")
        if any(shown == key for _, key in self.trusted):
            return
        if self.trusted:
            alike = [known for known in self.trusted if known[1].algorithm == shown.algorithm]
            number, key = (alike or self.trusted)[0]
            raise Mistrusted(f"{words}, not {described(key)} as in line {number} of {file}")
        if self.authorities:
            raise Mistrusted(
                f"{words} without a certificate of"
                f" {described(self.authorities[0])}, as {file} asks for"
            )
        if self.unread:
            raise Mistrusted(f"{words}; what line {self.unread[0]} of {file} says is no key")
        if self.identity.is_strict:
            raise Mistrusted(f"{words}, which is not in {file}, and strict_host_key_checking = yes")

    def judge_authority(self, shown: asyncssh.SSHKey) -> None:
        """Refuse the authority that signed a node's certificate: it is none that is known."""
        words = ", ".join(map(described, self.authorities))
        raise Mistrusted(
            f"its host certificate is signed by {described(shown)}, not by {words}"
            f" as in {self.identity.file}"
        )


def described(key: asyncssh.SSHKey) -> str:
    """Name a key, as `ssh-keygen -l` does."""
    return f"{key.get_fingerprint()} ({key.get_algorithm()})"


def _imported(text: str) -> asyncssh.SSHKey | None:
    from rhubarbe.transports.public_keys import import_public  # with it comes asyncssh

    return import_public(text.encode())


async def look_up(identity: Identity, ip: str, port: int) -> KnownKeys | None:
    """Look up a node; None where there is no file to look into. Raises Refused."""
    if not identity.file:
        return None
    try:
        return await in_passing(READ_WITHIN_S, known_keys, identity, ip, port)
    except TimeoutError as error:
        raise Refused(_fault(identity.file, error)) from error


def known_keys(identity: Identity, ip: str, port: int) -> KnownKeys | None:
    """Look up a node as `look_up` does; waits for the disk."""
    if not identity.file:
        return None
    try:
        text = _read(identity.file)
    except OSError as error:
        raise Refused(_fault(identity.file, error)) from error
    known = KnownKeys(identity)
    names = [identity.name.lower(), ip]
    at_port = names if port == SSH_PORT else [f"[{name}]:{port}" for name in names]
    lines = _lines(text)
    for line in lines:
        if line.is_for(at_port):
            known.take(line)
    if port != SSH_PORT:  # as OpenSSH does, a name alone counts where there is none with the port
        elsewhere = not known.is_known
        for line in lines:
            if (elsewhere or line.marker == REVOKED) and line.is_for(names):
                known.take(line)
    return known


def _read(path: Path) -> str:
    """Return the text of a file, which nobody but root and we may have written; raises OSError."""
    content = read_trusted(path, MOST_BYTES)
    return content.decode("utf-8", "surrogateescape").replace("\r", "")
