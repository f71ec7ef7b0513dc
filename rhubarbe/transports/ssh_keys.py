"""The keys that a node is shown: in files and in the agent, the likeliest first.

What cannot be used is named, and keeps no other from being shown.
"""

import asyncio
import contextlib
import functools
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from rhubarbe.errors import Refused, require_means, why
from rhubarbe.transports.known_hosts import KnownKeys
from rhubarbe.transports.public_keys import NO_KEY, import_public

# In the order in which they are shown; those in hardware last, since they wait for a finger.
USUAL_FILES = (
    *("id_ed25519", "id_ecdsa", "id_rsa", "id_ed448"),
    *("id_ed25519_sk", "id_ecdsa_sk"),
)
LONGEST_FILE = 1 << 16
# An agent on this machine lists its keys at once; only when one signs may it wait for its owner.
AGENT_LIMIT_S = 2.0

PUTTY = b"PuTTY-User-Key-File"

# The library reads a server's offer of algorithms in a task. A server that finds no common one
# hangs up right after its offer: the library gets so long to read it to its end.
MOMENT_S = 0.02

# Which keys let somebody in, in this process: the next node is likely to take the same.
_welcome: set[bytes] = set()


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What is in one file: key pairs; or a key that an agent may have; or nothing of use."""

    name: str
    pairs: tuple[asyncssh.SSHKeyPair, ...] = ()
    public: bytes = b""
    fault: str = ""
    broken: bool = False

    @property
    def complaint(self) -> str:
        """Say which file cannot be used, and why."""
        return f"{self.name} {self.fault}"


@dataclass(slots=True)
class Keys:
    """Key pairs in the order in which they are shown, and why others are not among them."""

    pairs: list[asyncssh.SSHKeyPair] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def gathered(key: str) -> AsyncIterator[Keys]:
    """Gather the key in the file `key` only; or all the user's, if that is empty."""
    files = await asyncio.to_thread(read_files, key)
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path or (key and files[0].pairs):
        yield _in_order(files, {}, more=not key)
        return
    async with asyncssh.SSHAgentClient(path) as agent:
        held: dict[bytes, asyncssh.SSHKeyPair] = {}
        fault = ""
        try:
            async with asyncio.timeout(AGENT_LIMIT_S):
                held = {pair.public_data: pair for pair in await agent.get_keys()}
        except TimeoutError:
            fault = f"the ssh agent does not answer in {AGENT_LIMIT_S:g} s"
        except (OSError, ValueError) as error:
            fault = f"the ssh agent cannot be asked: {why(error)}"
        keys = _in_order(files, held, more=not key)
        keys.faults += [fault] if fault else []
        yield keys


def _in_order(files: list[KeyFile], held: dict[bytes, asyncssh.SSHKeyPair], *, more: bool) -> Keys:
    """Put together what is in files, in the place of some what the agent holds; or `more` of it."""
    keys = Keys()
    for file in files:
        keys.pairs += file.pairs
        if file.public in held:
            keys.pairs.append(held[file.public])
        elif file.fault:
            keys.faults.append(file.complaint)
    if more:
        shown = {pair.public_data for pair in keys.pairs}
        keys.pairs += [pair for public, pair in held.items() if public not in shown]
    keys.pairs.sort(key=lambda pair: pair.public_data not in _welcome)
    return keys


def read_files(key: str) -> list[KeyFile]:
    """Read the file `key`; or the user's usual ones, those that there are. For a thread."""
    try:
        if key:
            return [_read_key(key, Path(key).expanduser())]
        home = Path("~/.ssh").expanduser()
    except RuntimeError as error:  # nobody knows where that is
        return [KeyFile(key or "~/.ssh", fault=f"cannot be used: {error}", broken=True)]
    return [_read_key(f"~/.ssh/{name}", home / name) for name in USUAL_FILES if _is(home / name)]


def _is(path: Path) -> bool:
    """Tell whether there is something of this name, be it a link to nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def broken_files() -> list[str]:
    """Return what is wrong with the user's files that hold no key. For a thread."""
    return [file.complaint for file in read_files("") if file.broken]


def _read_key(name: str, path: Path) -> KeyFile:
    try:
        data = _read(path)
    except OSError as error:
        require_means(error)
        return KeyFile(name, fault=f"cannot be used: {why(error)}", broken=True)
    try:
        key = _import(data)
    except NO_KEY as error:
        return _unusable(name, path, data, error)
    if key.algorithm.startswith(b"sk-"):
        return KeyFile(name, public=key.public_data, fault="is in hardware, and no agent holds it")
    return KeyFile(name, pairs=_pairs(key, path))


def _read(path: Path) -> bytes:
    """Return what is in a file that is no longer than keys are; raises OSError."""
    # A FIFO would have us wait for who writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no regular file")
        return os.read(descriptor, LONGEST_FILE)
    finally:
        os.close(descriptor)


@functools.lru_cache
def _import(data: bytes) -> asyncssh.SSHKey:
    """Read a private key, once: to check one of RSA takes half a second."""
    return asyncssh.import_private_key(data)


def _pairs(key: asyncssh.SSHKey, path: Path) -> tuple[asyncssh.SSHKeyPair, ...]:
    """Return the key, with its certificate first if there is one beside it."""
    try:
        certificate = asyncssh.import_certificate(_read(path.with_name(f"{path.name}-cert.pub")))
        return tuple(asyncssh.load_keypairs([(key, certificate)]))
    except (OSError, *NO_KEY):
        return tuple(asyncssh.load_keypairs([key]))


def _unusable(name: str, path: Path, data: bytes, error: Exception) -> KeyFile:
    """Say why there is no key to be had from a file."""
    if str(error).startswith("Passphrase"):
        fault = "has a passphrase, and no agent holds it"
        return KeyFile(name, public=_public(data, path), fault=fault)
    if data.startswith(PUTTY):
        fault = "it is in PuTTY's format, which puttygen converts"
    elif import_public(data):
        fault = "it is a public key"
    elif not data.strip():
        fault = "it is empty"
    else:
        fault = "it is no private key, or not all of one"
    return KeyFile(name, fault=f"cannot be used: {fault}", broken=True)


def _public(data: bytes, path: Path) -> bytes:
    """Return the public key of one that has a passphrase, empty where it cannot be told."""
    key = import_public(data)
    if key is None:
        with contextlib.suppress(OSError):
            key = import_public(_read(path.with_name(f"{path.name}.pub")))
    return key.public_data if key else b""


class Visit(asyncssh.SSHClient):
    """One connection to a node, which is shown keys until it takes one or hangs up.

    It has to show a key of its own first, of those that are known, if any are.
    """

    def __init__(
        self, pairs: Iterator[asyncssh.SSHKeyPair], known_keys: KnownKeys | None = None
    ) -> None:
        self._pairs = pairs
        self._known_keys = known_keys
        self.mistrust: Refused | None = None
        self.shown = 0
        self.known: asyncssh.SSHKeyPair | None = None
        """The last key that was shown, once the node knows it: it asks for a signature."""
        self.waits_for_agent = False
        self.banner = ""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Have the end of what the server says be noticed after what it said."""
        ended = conn.eof_received

        def notice() -> bool:
            asyncio.get_running_loop().call_later(MOMENT_S, ended)
            return True  # it is closed then

        vars(conn)["eof_received"] = notice

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Judge the key that the node shows."""
        return self._known_keys is None or self._judge(self._known_keys.judge, key)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Judge an authority that is none of the known ones."""
        return self._known_keys is not None and self._judge(self._known_keys.judge_authority, key)

    def _judge(self, judge: Callable[[asyncssh.SSHKey], None], key: asyncssh.SSHKey) -> bool:
        try:
            judge(key)
        except Refused as error:
            self.mistrust = error
            return False
        return True

    def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        """Show the next key."""
        self.known = None
        self.waits_for_agent = False
        pair = next(self._pairs, None)
        if pair is not None:
            self.shown += 1
            self._watch(pair)
        return pair

    def _watch(self, pair: asyncssh.SSHKeyPair) -> None:
        """Notice when a key is to sign: the library asks for `sign_async` where there is one."""

        async def sign(data: bytes) -> bytes:
            self.known = pair
            if not isinstance(pair, asyncssh.SSHAgentKeyPair):
                return pair.sign(data)
            self.waits_for_agent = True
            signature = await asyncssh.SSHAgentKeyPair.sign_async(pair, data)
            self.waits_for_agent = False
            return signature

        vars(pair)["sign_async"] = sign

    def auth_banner_received(self, msg: str, lang: str) -> None:
        """Keep what a server says before it lets anybody in, or not."""
        self.banner = msg

    def auth_completed(self) -> None:
        """Remember the key for the next node."""
        if self.known is not None:
            _welcome.add(self.known.public_data)
