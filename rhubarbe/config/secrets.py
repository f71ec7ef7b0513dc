"""A secret as it is written in the configuration or the inventory, and what it stands for.

Written is `!file PATH`, `!env NAME`, `!command PROGRAM WORDS`, or the plain text; `!text TEXT` is
the plain text where that looks like one of these.
"""

import os
import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from rhubarbe.errors import GatewayError
from rhubarbe.text import HIDDEN, hide

if TYPE_CHECKING:
    import asyncio  # which takes its time to import, and few need it for a secret

EXPECTED = "a secret: the text itself, !file /PATH, !env NAME, or !command PROGRAM WORDS"


class Kept(StrEnum):
    """Where a secret is kept."""

    TEXT = "!text"
    FILE = "!file"
    ENV = "!env"
    COMMAND = "!command"


class Secret:
    """One secret, false where there is none; only `reveal` tells its text.

    Two that are written alike are equal. `words` is the path, the name of the variable, or the
    command line.
    """

    __slots__ = ("__weakref__", "_answer", "_lock", "_said", "kept", "words")

    def __init__(self, said: str) -> None:
        """Take what is written; raises ValueError, which does not quote it, where it is nothing."""
        self._said = said
        self._lock: asyncio.Lock | None = None
        self._answer: str | GatewayError | None = None
        self.kept, rest = _parted(said)
        self.words = _words(self.kept, rest)

    async def reveal(self) -> str:
        """Return its text; raises GatewayError where it is not to be had, in words without it.

        It is asked for once: whoever asks again, or meanwhile, is answered the same.
        """
        if self.kept is Kept.TEXT:
            hide(self.words[0])
            return self.words[0]
        if self._answer is None:
            await self._ask()
        if isinstance(self._answer, str):
            hide(self._answer)
            return self._answer
        raise GatewayError(str(self._answer)) from self._answer

    async def _ask(self) -> None:
        """Ask for it, unless somebody else does, who is waited for."""
        import asyncio

        from rhubarbe.config.revealing import found

        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self._answer is None:
                try:
                    self._answer = await found(self.kept, self.words)
                except GatewayError as error:
                    self._answer = error

    @property
    def is_plain(self) -> bool:
        """Whether it is readable where it is written."""
        return bool(self) and self.kept is Kept.TEXT

    def __bool__(self) -> bool:
        return bool(self._said)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._said == other._said

    def __hash__(self) -> int:
        return hash((Secret, self._said))

    def __str__(self) -> str:
        """Tell where it is kept, but not more of a command than its program."""
        if not self:
            return ""
        return HIDDEN if self.kept is Kept.TEXT else f"{self.kept} {self.words[0]}"

    def __repr__(self) -> str:
        return f"<secret {str(self) or 'none'}>"


_known: WeakValueDictionary[str, Secret] = WeakValueDictionary()


def read_secret(said: str) -> Secret:
    """Return the secret that is written so: one for all nodes of which the same is said.

    So a keyring, which may ask a person, is asked once a command. Raises ValueError.
    """
    found = _known.get(said)
    if found is None:
        found = _known[said] = Secret(said)
    return found


def _parted(said: str) -> tuple[Kept, str]:
    """Return where it is kept, and the rest; a word that is none, with a blank, is a slip."""
    if not said.isprintable():  # a control that is told it in a line would take two
        raise ValueError(EXPECTED)
    word, blank, rest = said.partition(" ")
    if word in set(Kept):
        return Kept(word), rest if word == Kept.TEXT else rest.strip()
    if blank and re.fullmatch(r"![a-z]+", word):
        raise ValueError(EXPECTED)
    return Kept.TEXT, said


def _words(kept: Kept, rest: str) -> tuple[str, ...]:
    if kept is Kept.TEXT:
        return (rest,)
    try:
        words = tuple(shlex.split(rest)) if kept is Kept.COMMAND else (rest,)
        path = Path(rest).expanduser() if kept is Kept.FILE else None
    except (ValueError, RuntimeError):  # a quote alone, or nobody is called so
        raise ValueError(EXPECTED) from None
    if not words or not words[0] or (path and not path.is_absolute()) or "=" in _name(kept, rest):
        raise ValueError(EXPECTED)
    return (os.fspath(path),) if path else words


def _name(kept: Kept, rest: str) -> str:
    return rest if kept is Kept.ENV else ""


NO_SECRET = Secret("")
