"""What a chunk must show before any of it is written: its image's identity, room on the disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.frisbee.errors import TransferFailed, UsageError
from rhubarbe.imaging.errors import TargetTooSmall
from rhubarbe.imaging.relocations import short_end
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.header import SECTOR, parse_header

if TYPE_CHECKING:
    from rhubarbe.imaging.signature import PublicKey

_UUID_DIGITS = 32
_WITH_ID = 4
"""The version of images from which on they have a UUID."""


class Expected:
    """The image that the user wants: by its UUID, by the key that it is signed with."""

    def __init__(self, uuid: str = "", key_file: str = "") -> None:
        digits = uuid.replace("-", "").lower()
        if uuid and (len(digits) != _UUID_DIGITS or set(digits) - set("0123456789abcdef")):
            raise UsageError(f"option -u: '{uuid}' is not a UUID of 32 hexadecimal digits")
        self._id = bytes.fromhex(digits)
        self._key = _load_key(key_file)

    def check(self, index: int, chunk: memoryview) -> None:
        """Check a whole chunk.

        Raises:
            TransferFailed: it belongs to another image.
            DamagedChunk: it is not signed with the key.

        """
        if self._id:
            header = parse_header(chunk, index)
            if header.version < _WITH_ID:
                raise TransferFailed(
                    f"Incorrect Image ID in chunk {index}: it has none, being of version "
                    f"{header.version}; without -u it is taken"
                )
            if header.security.image_id != self._id:
                found = header.security.image_id.hex()
                raise TransferFailed(
                    f"Incorrect Image ID in chunk {index}: {found}, not {self._id.hex()}"
                )
        if self._key:
            self._key.check(chunk, index)


def _load_key(path: str) -> "PublicKey | None":
    if not path:
        return None
    from rhubarbe.imaging.signature import PublicKey  # few images are signed

    try:
        return PublicKey.load(path)
    except OSError as error:
        raise UsageError(f"option -c: cannot read {Path(path)}: {error.strerror}") from error


class Gate:
    """Holds chunks back until the last one, ``last``, has shown that the disk is large enough.

    That is for a disk of known size only, and for at most ``most`` chunks: with more, buffers would
    be short.
    """

    def __init__(self, target: Target, last: int, most: int) -> None:
        self._target = target
        self._last = last
        self._most = most
        self._held: list[tuple[int, memoryview]] = []
        self._is_bounded = target.size is not None and not target.is_slice
        self._is_open = not self._is_bounded

    def admit(self, index: int, chunk: memoryview) -> list[tuple[int, memoryview]]:
        """Take a chunk; return those that may be written now, each with its number.

        Raises:
            TargetTooSmall: the disk is; nothing was admitted, unless more than ``most`` came.
            NdzError: the last chunk is not one.

        """
        if self._is_bounded and index == self._last:
            self._check_room(chunk)
            self._is_open = True
        self._held.append((index, chunk))
        if not self._is_open and len(self._held) <= self._most:
            return []
        self._is_open = True
        admitted, self._held = self._held, []
        return admitted

    def _check_room(self, chunk: memoryview) -> None:
        header = parse_header(chunk, self._last)
        end = header.regions[-1].end * SECTOR if header.regions else 0
        short = short_end(header)
        needed = end if short is None else min(end, short)
        there = self._target.size
        if there is not None and needed > there:
            written = "" if self._is_open else ", nothing was written"
            raise TargetTooSmall(
                f"{self._target.name}: too small{written}: write error: No space left on device "
                f"(the image has data up to byte {needed}, the disk ends at {there})"
            )
