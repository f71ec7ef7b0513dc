"""LILO in the boot sector of a slice: its addresses, which count from the start of the disk.

The boot sector has the addresses of the second stage, of the table of what can be booted, of the
default command line, the keyboard table and the message. The table's entries, and the message,
begin with a map: sectors full of addresses, the last of which leads to the next such sector. This
is so up to LILO 21.4; later ones have another checksum, which no relocation makes true.
Source: LILO's own headers, and the comments of its installer.
"""

import struct
from collections.abc import Iterator

from rhubarbe.disk.bsdlabel import xor_words
from rhubarbe.disk.errors import FilesystemError
from rhubarbe.disk.reading import SECTOR, ReadAt
from rhubarbe.imaging.bsd_slices import Movable
from rhubarbe.imaging.relocations import LILO_MAP_ENTRIES, LILO_SEED, is_wide, moved
from rhubarbe.ndz.header import Relocation
from rhubarbe.ndz.relocations import LILO_ADDRESS, LILO_CHECKSUM, LILO_MAP, LILO_TABLE

_SIGNATURE_AT, _SIGNATURE = 6, b"LILO\x01\x00"  # with the number of the stage: the first
_VERSION_AT, _MAJOR = 12, 21

_ADDRESS = 5
_TABLE_AT = (24, 29)
_COMMAND_LINE_AT, _KEYBOARD_AT = 34, 47
_MESSAGE_LENGTH_AT, _MESSAGE_AT = 40, 42
_SECOND_STAGE_AT, _SECOND_STAGE_MAX = 52, 11

_ENTRY, _ENTRIES = 52, 19
_NAME, _RAMDISK_SIZE_AT, _RAMDISK_AT, _IMAGE_AT = 16, 32, 36, 41
_TABLE_FORMS = ((2, 0), (0, _ENTRY * _ENTRIES))
"""Byte of the table where its entries begin, and where its checksum is."""

_LINEAR = 0x20 | 0x40
_MAP_SECTORS_MAX = 4096


def movable_lilo(read_at: ReadAt, start: int, sectors: int) -> Movable:
    """Return LILO's sectors as they would be if the slice began at sector 0, if it has any.

    `start` is where on the disk the slice of so many sectors begins.
    """
    boot = read_at(0, SECTOR)
    if start == 0 or boot[_SIGNATURE_AT : _SIGNATURE_AT + len(_SIGNATURE)] != _SIGNATURE:
        return Movable()
    errors = set()
    for form in _TABLE_FORMS:
        moving = _Moving(read_at, start, sectors)
        try:
            moving.move_all(*form)
        except FilesystemError as error:
            errors.add(str(error))
            continue
        changed = {number: bytes(data) for number, data in moving.sectors.items()}
        return Movable(changed, tuple(moving.relocations))
    return Movable(
        remark=f"its LILO is stored as it is, true only where the slice begins at {start}: "
        + ", or ".join(sorted(errors))
    )


class _Moving:
    """Moves each address of a LILO to a slice that begins at sector 0; raises FilesystemError."""

    def __init__(self, read_at: ReadAt, start: int, sectors: int) -> None:
        self.sectors: dict[int, bytearray] = {}
        self.relocations: list[Relocation] = []
        self._read_at = read_at
        self._start = start
        self._end = sectors
        self._maps: set[int] = set()

    def move_all(self, entries_at: int, checksum_at: int) -> None:
        """Move what the boot sector has, then what it leads to."""
        boot = self._sector(0)
        if boot[_VERSION_AT] != _MAJOR:
            raise FilesystemError(f"it is of version {boot[_VERSION_AT]}")
        table, second = (self._move(0, at) for at in _TABLE_AT)
        if second != table + 1:
            raise FilesystemError("its table is in two pieces")
        self._move(0, _COMMAND_LINE_AT)
        self._move(0, _KEYBOARD_AT)
        end = _SECOND_STAGE_AT + _ADDRESS * _SECOND_STAGE_MAX
        for at in range(_SECOND_STAGE_AT, end, _ADDRESS):
            if not any(boot[at : at + _ADDRESS]):
                break
            self._move(0, at)
        if any(boot[_MESSAGE_LENGTH_AT : _MESSAGE_LENGTH_AT + 2]):
            self._move_map(self._move(0, _MESSAGE_AT))
        self._move_table(table, entries_at, checksum_at)

    def _move_table(self, table: int, entries_at: int, checksum_at: int) -> None:
        data = self._sector(table) + self._sector(table + 1)
        if xor_words(data, LILO_SEED):
            raise FilesystemError("the checksum of its table is wrong, or another")
        maps = [self._move(table, at) for at in _addresses_of(data, entries_at)]
        self.relocations.append(Relocation(LILO_CHECKSUM, *self._place(table, checksum_at), 2))
        data = self._sector(table) + self._sector(table + 1)
        struct.pack_into("<H", data, checksum_at, 0)
        struct.pack_into("<H", data, checksum_at, xor_words(data, LILO_SEED))
        self.sectors[table][:], self.sectors[table + 1][:] = data[:SECTOR], data[SECTOR:]
        for each in maps:
            self._move_map(each)

    def _move_map(self, number: int) -> None:
        """Move all addresses of the map that begins in a sector; several may share it."""
        while number not in self._maps:
            self._maps.add(number)
            if len(self._maps) > _MAP_SECTORS_MAX:
                raise FilesystemError("its map does not end")
            data = self._sector(number)
            addresses = [data[at : at + _ADDRESS] for at in range(0, 510, _ADDRESS)]
            used = sum(1 for address in addresses if any(address))
            if not all(map(any, addresses[:used])) or not used:
                raise FilesystemError("its map makes no sense")
            following = [self._change(number, at * _ADDRESS) for at in range(used)]
            self.relocations.append(Relocation(LILO_MAP, number, 0, SECTOR))
            if used < LILO_MAP_ENTRIES:
                return
            number = following[-1]

    def _sector(self, number: int) -> bytearray:
        if number not in self.sectors:
            self.sectors[number] = bytearray(self._read_at(number * SECTOR, SECTOR))
            if len(self.sectors[number]) < SECTOR:
                raise FilesystemError("it leads out of the slice")
        return self.sectors[number]

    def _place(self, sector: int, at: int) -> tuple[int, int]:
        """Return sector and byte in it of a byte that is counted from the start of a sector."""
        return sector + at // SECTOR, at % SECTOR

    def _move(self, sector: int, at: int) -> int:
        """Move an address, and note it; return to which sector of the slice it leads."""
        self.relocations.append(Relocation(LILO_ADDRESS, *self._place(sector, at), _ADDRESS))
        return self._change(sector, at)

    def _change(self, sector: int, at: int) -> int:
        places = [self._place(sector, at + n) for n in range(_ADDRESS)]
        address = bytes(self._sector(number)[byte] for number, byte in places)
        low, middle, device, high, count = address
        if not device & _LINEAR:
            raise FilesystemError("it counts in cylinders")
        if not is_wide(device) and self._start + self._end > 1 << 24:
            raise FilesystemError("it counts in 24 bits")
        length = 1 if is_wide(device) else count
        linear = low | middle << 8 | high << 16 | (count << 24 if is_wide(device) else 0)
        if not self._start <= linear <= self._start + self._end - length or not length:
            raise FilesystemError("it leads out of the slice")
        for (number, byte), value in zip(places, moved(address, -self._start), strict=True):
            self._sector(number)[byte] = value
        return linear - self._start


def _addresses_of(table: bytearray, entries_at: int) -> Iterator[int]:
    """Yield where in the table an address is: of an image, and of its initial RAM disk."""
    last = min(entries_at + _ENTRY * _ENTRIES, LILO_TABLE)
    for at in range(entries_at, last, _ENTRY):
        name = bytes(table[at : at + _NAME]).partition(b"\0")[0]
        if not name:
            continue
        if not name.isascii() or not name.decode().isprintable():
            raise FilesystemError("its table makes no sense")
        if any(table[at + _RAMDISK_SIZE_AT : at + _RAMDISK_AT]):
            yield at + _RAMDISK_AT
        yield at + _IMAGE_AT
