"""What a chunk must show before any of it is written: its image's identity, room on the disk."""

from collections.abc import Callable
from pathlib import Path

from rhubarbe.frisbee.errors import TransferFailed, UsageError
from rhubarbe.imaging.fitting import ImageExtent
from rhubarbe.imaging.relocations import data_end
from rhubarbe.imaging.signature import PublicKey
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.header import parse_header

_UUID_DIGITS = 32
_WITH_ID = 4
"""From this version of the format on, images have a UUID."""


class Expected:
    """The image that the user wants: by its UUID, by the key that it is signed with."""

    def __init__(self, uuid: str = "", key_file: str = "") -> None:
        digits = uuid.replace("-", "").lower()
        if uuid and (len(digits) != _UUID_DIGITS or set(digits) - set("0123456789abcdef")):
            raise UsageError(f"option -u: '{uuid}' is not a UUID of 32 hexadecimal digits")
        self._id = bytes.fromhex(digits)
        self._key = _load_key(key_file)

    @property
    def is_given(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._id) or self._key is not None

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
    """Holds chunks back until the first and the last have shown that the disk can take the image.

    That is for a disk of known size only. `begin` is called with the first chunk and the extent of
    the image before any chunk is admitted; it raises TargetError where the disk cannot take it.
    """

    def __init__(
        self, target: Target, last: int, begin: Callable[[memoryview, ImageExtent], object]
    ) -> None:
        self._last = last
        self._begin = begin
        self._held: list[tuple[int, memoryview]] = []
        self._ends: dict[int, memoryview] = {}
        self.is_open = target.size is None

    def admit(self, index: int, chunk: memoryview) -> list[tuple[int, memoryview]]:
        """Take a chunk; return those that may be written now, each with its number.

        Raises:
            TargetError: the disk does not take the image; nothing was written.
            NdzError: the first or the last chunk is not one.

        """
        if self.is_open:
            return [(index, chunk)]
        self._held.append((index, chunk))
        if index in {0, self._last}:
            self._ends[index] = chunk
        if {0, self._last} - self._ends.keys():
            return []
        header = parse_header(self._ends[self._last], self._last)
        self._begin(self._ends[0], ImageExtent(data_end(header), header.last))
        self.is_open = True
        admitted, self._held = self._held, []
        return admitted
