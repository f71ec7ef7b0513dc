"""What can go wrong in the suite, as one tree; each class knows the exit code that it becomes.

A message is one line: what happened, on which node or in which file, and what to do about it.
"""

import errno
import os

from rhubarbe.text import sanitise

# A message may quote a node's words, and they may have no end.
LONGEST_MESSAGE = 800
_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def why(error: Exception) -> str:
    """Word an error as the system does, without its number, nor the file or the address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)


def shortage(error: BaseException) -> str | None:
    """Word what this machine has run out of; None where an error does not tell of that."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(shortage, error.exceptions)), None)
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _MEANS else None
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):
        return os.strerror(errno.ENOMEM)
    return str(error) if isinstance(error, RuntimeError) and "new thread" in str(error) else None


def require_means(error: OSError) -> None:
    """Raise GatewayError where this machine has run out of something: the other side is not why."""
    if lack := shortage(error):
        raise GatewayError(f"this machine cannot do more: {lack}") from error


# What the system says of the way to another machine where it has none itself.
_NO_WAY = frozenset({errno.EPERM, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


def is_ours(error: BaseException | None) -> bool:
    """Tell whether an error comes of this machine, or of the image, and of no node."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error may be its own cause
        seen.add(id(error))
        if isinstance(error, GatewayError | ImageError) or shortage(error):
            return True
        if isinstance(error, OSError) and error.errno in _NO_WAY:
            return True
        error = error.__cause__
    return False


class RhubarbeError(Exception):
    """The root: anything that the suite reports as one line instead of a traceback."""

    exit_code = 1


class ConfigError(RhubarbeError):
    """A configuration file is unreadable or not trusted, or holds a bad key or value."""


class InventoryError(RhubarbeError):
    """The inventory cannot be read or is not what it should be."""


class SelectionError(RhubarbeError):
    """A selection word that is none, an unknown node, or nothing selected."""


class ImageError(RhubarbeError):
    """No such image, or one that is partial, cut short or damaged; or a name that is taken."""


class GatewayError(RhubarbeError):
    """Something on this machine: a program that is missing or failed, no free group and port."""


class LeaseError(RhubarbeError):
    """No lease now, a time that is taken or is none, or leases that cannot be asked for."""


class NodeError(RhubarbeError):
    """One node did not do what was asked: it becomes that node's outcome, never the command's.

    Its message is one clean line, whatever the node or its power card wrote into it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(sanitise(message, LONGEST_MESSAGE))


class CardError(NodeError):
    """The power card did not answer, or not as it should; `card` is its name, where it is known."""

    def __init__(self, message: str, card: str = "") -> None:
        super().__init__(message)
        self.card = card


class CardRefused(CardError):
    """The power card answered, and does not let us in: a user, a password or a right is wrong."""


class Unreachable(NodeError):
    """Nothing answers at the node's address, or it stopped answering."""


class Refused(NodeError):
    """The node answered and said no: neither waiting nor another round will help."""


class Mistrusted(Refused):
    """Who answers is not the node, as far as its ssh host key is known."""


class CommandFailed(NodeError):
    """A program on the node ended with another status than 0."""
