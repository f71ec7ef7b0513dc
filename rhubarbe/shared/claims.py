"""What only one process of this machine may have at a time: a claim, which is no file.

A claim is a listening socket under an abstract name, which the kernel gives to one process only and
takes back when that ends, however it ends. Who asks whose it is learns the user and the process
from the kernel, and from the claimant what it cares to say.
"""

import contextlib
import errno
import hashlib
import socket
import struct
from dataclasses import dataclass

# As long as an abstract name may be, without the zero byte before it.
LONGEST_NAME = 107
MOST_WORDS = 1000
ANSWER_WITHIN_S = 0.3
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who has a claim, as the kernel says; `words` are its own, and untrusted."""

    uid: int
    pid: int
    words: str


def make_claim(place: str, thing: str) -> socket.socket | None:
    """Claim a thing of a place, until the socket is closed; None where somebody has it.

    Raises OSError.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.settimeout(0)
        claim.bind(_address(place, thing))
        claim.listen()
    except BaseException as error:
        claim.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return None
        raise
    return claim


def tell(claim: socket.socket, words: str) -> None:
    """Answer one of those who ask, without waiting for it."""
    with contextlib.suppress(OSError):  # they went away
        asker, _ = claim.accept()
        with asker:
            asker.settimeout(0)
            asker.send(words.encode(errors="replace")[:MOST_WORDS])


def ask(place: str, thing: str) -> Claimant | None:
    """Ask who has a claim, for a moment; None where nobody answers to the name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(ANSWER_WITHIN_S)
        try:
            asker.connect(_address(place, thing))
        except OSError:
            return None
        credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        words = b""
        with contextlib.suppress(OSError):
            words = asker.recv(MOST_WORDS)
        return Claimant(uid, pid, words.decode(errors="replace"))


def _address(place: str, thing: str) -> bytes:
    name = f"rhubarbe/{place}/{thing}".encode(errors="surrogateescape")
    if len(name) > LONGEST_NAME:
        name = b"rhubarbe/" + hashlib.sha256(name).hexdigest().encode()
    return b"\0" + name
