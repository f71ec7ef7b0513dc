"""Programs that are asked about a filesystem: bounded in what they say and how long they take."""

import os
import re
import selectors
import shutil
import subprocess
import time
from pathlib import Path

from rhubarbe.imaging.errors import FilesystemError

_ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_SAID_MAX = 64 << 20
"""Bytes that a program may write: two million ranges."""

_LIMIT_S = 900
"""The tables of a large and slow disk take minutes to read."""

_GRACE_S = 10
_PART = 64 << 10
_REASON_MAX = 120
_EMPTY_WORDS = re.compile("Partclone fail|Error exit")


def find(program: str) -> str:
    """Return the path of an installed program; raise FilesystemError."""
    found = shutil.which(program) or shutil.which(program, path=_ADMIN_PATH)
    if not found:
        raise FilesystemError(f"{program} is not installed")
    return found


def run(command: list[str]) -> bytes:
    """Return what a program says; raise FilesystemError where it fails, or does not end."""
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise FilesystemError(f"{name} cannot be run ({error.strerror})") from error
    with process:
        try:
            said, words = _collect(process)
            process.wait(_GRACE_S)  # it has closed both its streams, so it should end at once
        except subprocess.TimeoutExpired as error:
            raise FilesystemError(f"{name} does not end") from error
        except FilesystemError as error:
            raise FilesystemError(f"{name} {error}") from error
        finally:
            process.kill()  # does nothing to one that has ended
    if process.returncode < 0:
        raise FilesystemError(f"{name} died of signal {-process.returncode}")
    if process.returncode:
        raise FilesystemError(f"{name} refused it ({_reason(words or said)})")
    return said


def _collect(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return what the program writes on its two streams, once it has closed both."""
    deadline = time.monotonic() + _LIMIT_S
    said, words = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, into in ((process.stdout, said), (process.stderr, words)):
            if stream:
                selector.register(stream, selectors.EVENT_READ, into)
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise FilesystemError(f"has not ended within {_LIMIT_S} s")
            for key, _ in ready:
                part = os.read(key.fd, _PART)
                if not part:
                    selector.unregister(key.fileobj)
                key.data.extend(part)
            if len(said) + len(words) > _SAID_MAX:
                raise FilesystemError(f"says more than {_SAID_MAX >> 20} MiB")
    return bytes(said), bytes(words)


def _reason(words: bytes) -> str:
    """Return the last line that says something, as what can be shown."""
    text = words.decode("ascii", "replace").replace("\r", "\n")
    lines = ["".join(filter(str.isprintable, line)).strip() for line in text.split("\n")]
    said = [line for line in lines if line and not _EMPTY_WORDS.match(line)]
    return (said or ["no reason given"])[-1][-_REASON_MAX:]
