"""What is asked of a program, a library or a kernel module: the libraries it names, its modinfo.

Source of the format: the System V ABI, chapters 4 and 5. Little-endian only, 32 or 64 bits. Unlike
ldd this runs nothing and asks no loader of this machine, whose libraries are of another release
than those of the packages.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from rhubarbe.ramdisk_builder.errors import FormatError

MAGIC = b"\x7fELF"
IS_64, LITTLE_ENDIAN = 2, 1
HEADER_SIZE = 64  # of the larger kind; no file is smaller
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


class Elf:
    """An ELF file in memory. Any method raises FormatError when the file is damaged."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        if content[:4] != MAGIC or len(content) < HEADER_SIZE or content[5] != LITTLE_ENDIAN:
            raise FormatError(f"{name} is no little-endian ELF file")
        self._is_64 = content[4] == IS_64
        # e_machine, then the tables of segments and sections
        self.machine: int = struct.unpack_from("<H", content, 18)[0]
        if self._is_64:
            self._segments_at, self._sections_at = struct.unpack_from("<QQ", content, 32)
            sizes = struct.unpack_from("<HHHHH", content, 54)
        else:
            self._segments_at, self._sections_at = struct.unpack_from("<II", content, 28)
            sizes = struct.unpack_from("<HHHHH", content, 42)
        self._segment_size, self._segments, self._section_size, self._sections, self._names = sizes

    def needed(self) -> list[str]:
        """Return the names of the libraries that must be loaded with it; none when it is static."""
        dynamic = next((part for kind, part in self._each_segment() if kind == PT_DYNAMIC), b"")
        pairs = list(self._unpack_all("<qQ" if self._is_64 else "<iI", dynamic))
        strings = next((value for tag, value in pairs if tag == DT_STRTAB), 0)
        return [
            self._string(self._place_of(strings) + value)
            for tag, value in pairs
            if tag == DT_NEEDED
        ]

    def interpreter(self) -> str:
        """Return the path of the loader that it wants; empty for a library, or a static program."""
        for kind, part in self._each_segment():
            if kind == PT_INTERP:
                return part.rstrip(b"\0").decode(errors="replace")
        return ""

    def modinfo(self) -> Iterator[tuple[str, str]]:
        """Yield what a kernel module says of itself: `alias`, `depends`, `name` and the like."""
        for pair in self._section(".modinfo").split(b"\0"):
            key, equals, value = pair.decode(errors="replace").partition("=")
            if equals:
                yield key, value

    def _unpack(self, form: str, place: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(form, self._content, place)
        except (struct.error, OverflowError) as error:
            raise FormatError(f"{self._name} is cut short: {error}") from error

    def _unpack_all(self, form: str, part: bytes) -> Iterator[tuple[int, ...]]:
        size = struct.calcsize(form)
        return struct.iter_unpack(form, part[: len(part) // size * size])

    def _headers(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the kind, offset, address and size in the file of each segment."""
        for number in range(self._segments):
            place = self._segments_at + number * self._segment_size
            if self._is_64:
                kind, _, offset, address, _, size = self._unpack("<IIQQQQ", place)
            else:
                kind, offset, address, _, size = self._unpack("<IIIII", place)
            yield kind, offset, address, size

    def _each_segment(self) -> Iterator[tuple[int, bytes]]:
        for kind, offset, _, size in self._headers():
            yield kind, self._content[offset : offset + size]

    def _place_of(self, address: int) -> int:
        for kind, offset, start, size in self._headers():
            if kind == PT_LOAD and start <= address < start + size:
                return address - start + offset
        raise FormatError(f"{self._name}: its strings are in no part of the file")

    def _string(self, place: int) -> str:
        end = self._content.find(b"\0", place)
        if end < 0:
            raise FormatError(f"{self._name} is cut short: a name has no end")
        return self._content[place:end].decode(errors="replace")

    def _section(self, name: str) -> bytes:
        names = self._section_header(self._names)[1] if self._sections else 0
        for number in range(self._sections):
            name_at, offset, size = self._section_header(number)
            if self._string(names + name_at) == name:
                return self._content[offset : offset + size]
        return b""

    def _section_header(self, number: int) -> tuple[int, int, int]:
        """Return where the name is among the names, and the offset and size in the file."""
        place = self._sections_at + number * self._section_size
        if self._is_64:
            name, _, _, _, offset, size = self._unpack("<IIQQQQ", place)
        else:
            name, _, _, _, offset, size = self._unpack("<IIIIII", place)
        return name, offset, size


def is_elf(path: Path) -> bool:
    """Whether a file begins as an ELF file does; raises OSError."""
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read(path: Path) -> Elf:
    """Read an ELF file; raises FormatError, OSError."""
    return Elf(path.read_bytes(), str(path))
