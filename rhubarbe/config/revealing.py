"""Reads a secret from where it is kept: a file, a variable, or what a command prints.

What is found is checked, bounded, and in no error.
"""

import asyncio
import os
import stat
from collections.abc import Sequence
from functools import partial

from rhubarbe.concurrency.program import Flood, run_program
from rhubarbe.concurrency.threads import in_passing
from rhubarbe.config.secrets import Kept
from rhubarbe.errors import GatewayError, why
from rhubarbe.shared import own
from rhubarbe.shared.trust import Distrust, require_site_s
from rhubarbe.writers import may_others_write

# No control and no service takes more.
LARGEST = 64 << 10
FILE_WITHIN_S = 10.0
# A keyring may have to ask a person.
COMMAND_WITHIN_S = 30.0


async def found(kept: Kept, words: Sequence[str]) -> str:
    """Return the secret; raises GatewayError, one line that tells nothing of it."""
    match kept:
        case Kept.FILE:
            return await _of_file(words[0])
        case Kept.ENV:
            return _of_variable(words[0])
        case Kept.COMMAND:
            return await _of_command(words)
        case Kept.TEXT:
            return words[0]


def _of_variable(name: str) -> str:
    text = os.environ.get(name, "")
    if not text:
        raise GatewayError(f"no secret: ${name} is not set")
    return _typed(text, f"${name}")


async def _of_file(path: str) -> str:
    try:
        content = await in_passing(FILE_WITHIN_S, _read, path)
    except FileNotFoundError as error:
        raise GatewayError(f"no secret: {path}: no such file") from error
    except Distrust as error:
        raise GatewayError(f"no secret: {error}") from error
    except OSError as error:  # TimeoutError is one
        raise GatewayError(f"no secret: {path}: cannot be read: {why(error)}") from error
    text = _text(content, path)
    if "\n" in text.rstrip("\n"):
        raise GatewayError(f"no secret: {path}: has several lines, expected one")
    return _line(text, path)


def _read(path: str) -> bytes:
    return own.read_required(path, LARGEST, partial(_require_hidden, path=path))


def _require_hidden(file: int, path: str) -> None:
    """Raise Distrust where others could read an open file, or write it; its group may read it."""
    require_site_s(file, path)
    if os.fstat(file).st_mode & stat.S_IROTH:
        raise Distrust(f"{path}: anybody can read it; do: chmod o-r {path}")
    if may_others_write(file):
        raise Distrust(f"{path}: others of its group can write it; do: chmod g-w {path}")


async def _of_command(words: Sequence[str]) -> str:
    """Return the first line that a program prints: what `pass` keeps behind it is for people.

    Of what else it says there may be a secret in any line, so none is told.
    """
    program = words[0]
    try:
        async with asyncio.timeout(COMMAND_WITHIN_S):
            ended = await run_program(words, most=LARGEST)
    except TimeoutError as error:
        raise GatewayError(
            f"no secret: {program}: did not end in {COMMAND_WITHIN_S:g} s, and was ended"
        ) from error
    except Flood as error:
        raise GatewayError(f"no secret: {program}: {error}") from error
    except OSError as error:
        raise GatewayError(f"no secret: {program}: cannot be run: {why(error)}") from error
    if ended.status:
        raise GatewayError(f"no secret: {program}: ended with status {ended.status}")
    return _line(_text(ended.output, program), program)


def _text(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise GatewayError(f"no secret: {source}: is no text in UTF-8") from None


def _line(text: str, source: str) -> str:
    return _typed(text.partition("\n")[0].removesuffix("\r"), source)


def _typed(text: str, source: str) -> str:
    """Return what somebody can have typed, and a control be told in a line; raises GatewayError."""
    if not text.strip() or not text.isprintable():
        what = "is empty" if not text.strip() else "has letters that cannot be typed"
        raise GatewayError(f"no secret: {source}: {what}")
    return text
