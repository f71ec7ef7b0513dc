"""The program that makes an image of a disk, of one of its slices, or of a file."""

import os
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rhubarbe.disk.partitions import SECTOR_SIZES
from rhubarbe.imaging.commandline import CommandLine, Option, Program, say
from rhubarbe.imaging.devices import STDOUT, refuse_same
from rhubarbe.imaging.errors import UsageError
from rhubarbe.imaging.layout import MIN_FREE, Layout, PartitionChoice, plan
from rhubarbe.imaging.output import PARTIAL, Output, open_output
from rhubarbe.imaging.progress import (
    NoDisplay,
    ProgressBar,
    ProgressDisplay,
    ZipDots,
    has_bars,
    shown,
)
from rhubarbe.imaging.source import STDIN, Source
from rhubarbe.imaging.zipoptions import (
    KEY_FILE,
    REFUSED,
    keep_key,
    refuse_contradiction,
    signing_key,
)
from rhubarbe.imaging.zipper import Zipper
from rhubarbe.ndz.deflate import LEVEL, LEVEL_MAX, Batch, Packer
from rhubarbe.ndz.header import SECTOR, Relocation
from rhubarbe.ndz.relocations import SHORT_SECTOR

if TYPE_CHECKING:
    from rhubarbe.imaging.signature import PrivateKey

_LEAST_MEMORY_MIB = 8
_MEMORY_MIB = 128
_CHUNK = 1 << 20

PROGRAM = Program(
    name="imagezip",
    usage="[options] DISK|FILE|- IMAGE|-",
    purpose="Make an ndz image of what is in use on a disk; IMAGE may be - for standard output.",
    options=[
        Option("o", "dots", "print a dot for each chunk"),
        Option("z", "level", f"compression, 0 (none) to 9 (default {LEVEL})", "N"),
        Option("s", "slice", "image of this partition only, relative to its start", "N"),
        Option("r", "raw", "store everything, whatever it is"),
        Option("f", "file", "the input is a regular file, of any size (implies -r)"),
        Option("l", "ext", "the input is one bare ext filesystem"),
        Option("b", "bsd", "the input is one bare BSD slice"),
        Option("n", "ntfs", "the input is one bare NTFS filesystem"),
        Option("S", "slice-type", "the input is one bare filesystem; TYPE is not needed", "TYPE"),
        Option("I", "ignore", "leave this partition out", "N"),
        Option("R", "raw-slice", "store all of this partition", "N"),
        Option("c", "count", "stop after that many sectors", "SECTORS"),
        Option("F", "min-free", f"shortest free run left out (default {MIN_FREE})", "SECTORS"),
        Option("Z", "zero-short", "store the shorter free runs as zeros"),
        Option("x", "skip-tail", "leave out what lies after the end of a filesystem"),
        Option("X", "replace-errors", "take sectors that cannot be read as zeros"),
        Option("D", "no-sync", "do not wait until the image is on the disk"),
        Option("u", "uuid", "write version 4, with this UUID (32 hexadecimal digits)", "HEX"),
        Option("a", "sign", "sign each chunk with a new key, kept in IMAGE.skey", "SHA1"),
        Option("", "sign-key", "sign each chunk with this key: five hexadecimal lines", "KEYFILE"),
        Option("1", "v1", "write version 1, for old readers: no range, no UUID"),
        Option("3", "v3", "write version 3 (the default)"),
        Option(
            "N",
            "no-relocations",
            "write none: a file ends with a whole sector, a label stays as it is",
        ),
        Option("", "sector-size", "logical sectors of the disk that a file is of", "BYTES"),
        Option("i", "info", "say what would be stored, and write nothing: without IMAGE"),
        Option(
            "",
            "memory",
            f"memory to use in MiB (default {_MEMORY_MIB}; {_LEAST_MEMORY_MIB} at least)",
            "MIB",
        ),
        Option("d", "debug", "accepted, and ignored"),
        Option("h", "help", "print this"),
        Option("v", "version", "print the version"),
    ],
    refused=REFUSED,
    epilogue="example: imagezip -o /dev/sda - | nc -q 1 gateway 10000",
)


def main(argv: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    return PROGRAM.run(argv, _work)


def _work(line: CommandLine) -> int:
    is_info = line.has("info")
    if len(line.arguments) not in {1, 2}:
        raise UsageError("an input and an output are needed")
    if len(line.arguments) == 1 and not is_info:
        raise UsageError("Must specify an output filename!")
    refuse_contradiction(line)
    choice = _choose(line)
    if (choice.ignored or choice.raw) and not choice.is_disk:
        raise UsageError(
            "-I and -R name partitions of a whole disk: they do not go with -s, -r, -l"
        )
    if line.arguments[0] == STDIN and not choice.is_raw:
        raise UsageError("the standard input can only be imaged with -r or -f")
    _refuse_values(line)
    started = time.monotonic()
    with Source(line.arguments[0], replaces_errors=line.has("replace-errors")) as source:
        if source.is_stream:
            layout = Layout(0, 0, choice.sector_size or SECTOR)
        else:
            layout = plan(source, choice)
        for remark in layout.remarks:
            say(remark)
        if is_info:
            _say_layout(source, layout)
            return 0
        _make(line, source, layout, started)
    return 0


def _choose(line: CommandLine) -> PartitionChoice:
    return PartitionChoice(
        ignored=_numbers(line, "ignore"),
        raw=_numbers(line, "raw-slice"),
        slice_number=line.number("slice", 0, 1, 128) or None,
        is_bare=any(map(line.has, ("ext", "bsd", "ntfs", "slice-type"))),
        is_raw=line.has("raw") or line.has("file"),
        is_file=line.has("file"),
        relocates=not line.has("no-relocations"),
        min_free=line.number("min-free", MIN_FREE),
        skips_tail=line.has("skip-tail"),
        limit=line.number("count", 0) or None,
        sector_size=_sector_size(line),
    )


def _sector_size(line: CommandLine) -> int | None:
    size = line.number("sector-size", 0)
    if size and size not in SECTOR_SIZES:
        raise UsageError(f"--sector-size: {size} is none of {', '.join(map(str, SECTOR_SIZES))}")
    return size or None


def _numbers(line: CommandLine, name: str) -> frozenset[int]:
    values = line.values.get(name, [])
    for value in values:
        if not value.isdigit():
            raise UsageError(f"--{name}: {value!r} is not the number of a partition")
    return frozenset(map(int, values))


def _refuse_values(line: CommandLine) -> None:
    """Raise UsageError for a value that is wrong, before the disk is read and told of."""
    for read in (_level, _memory_mib, _uuid):
        read(line)


def _level(line: CommandLine) -> int:
    return line.number("level", LEVEL, 0, LEVEL_MAX)


def _memory_mib(line: CommandLine) -> int:
    return line.number("memory", _MEMORY_MIB, _LEAST_MEMORY_MIB)


def _uuid(line: CommandLine) -> bytes | None:
    if not line.has("uuid"):
        return None
    text = line.text("uuid")
    if not re.fullmatch("[0-9a-fA-F]{32}", text):
        raise UsageError(f"--uuid: {text!r} is not 32 hexadecimal digits")
    return bytes.fromhex(text)


def _say_layout(source: Source, layout: Layout) -> None:
    for start, end in layout.ranges:
        print(f"  {layout.base + start:12d} {layout.base + end - 1:12d} {end - start:12d}")
    print(
        f"{source.name}: {layout.used_sectors * SECTOR} bytes to store "
        f"of {layout.end * SECTOR}, in {len(layout.ranges)} ranges"
    )


def _make(line: CommandLine, source: Source, layout: Layout, started: float) -> None:
    level = _level(line)
    path = line.arguments[1]
    signer = signing_key(line)
    packer = Packer(
        image_id=os.urandom(16),
        level=level,
        uuid=_uuid(line) or (os.urandom(16) if signer else None),
        relocations=_relocations(line, source, layout),
        sector_size=layout.sector_size,
        version=1 if line.has("v1") else 3,
        is_signed=signer is not None,
    )
    progress = _choose_progress(line, layout, path)
    zipper = Zipper(
        source,
        level=level,
        memory_mib=_memory_mib(line),
        base=layout.base,
        blank=layout.blank if line.has("zero-short") else None,
        patches=layout.movable.patches,
    )
    refuse_same(source.descriptor, source.name, path, path + PARTIAL, path + KEY_FILE)
    with open_output(path, syncs=not line.has("no-sync")) as output, zipper, shown(progress):
        batches = zipper.zip_stream() if source.is_stream else zipper.zip(layout.ranges)
        packing = _Packing(packer, output, progress, signer)
        packing.run(batches)
        source.require_whole()
        end = source.sectors if source.is_stream else layout.end
        packing.end(end, _short_sector(line, source) if source.is_stream else None)
        if line.has("sign") and signer:
            keep_key(signer, path)
    _say_result(packing, layout, source, time.monotonic() - started)


def _relocations(line: CommandLine, source: Source, layout: Layout) -> list[Relocation]:
    """Return all that are to be written; raise UsageError where the version has none."""
    short = _short_sector(line, source) if source.size and not layout.base else None
    found = [*layout.movable.relocations, *([short] if short else [])]
    if layout.movable.relocations and line.has("v1"):
        raise UsageError(
            "-1: the BSD label or LILO of the slice depends on where it is, which version 1 cannot"
            " say; with -N as well it is stored as it is"
        )
    return found


def _short_sector(line: CommandLine, source: Source) -> Relocation | None:
    """Return what says that the image ends inside a sector; raise UsageError where it cannot."""
    rest = 0 if line.has("no-relocations") else source.size % SECTOR
    if rest and line.has("v1"):
        raise UsageError(
            f"-1: {source.name} ends inside a sector, which version 1 cannot say; with -N as well "
            "the image ends with the whole of it"
        )
    return Relocation(SHORT_SECTOR, source.size // SECTOR, 0, rest) if rest else None


def _choose_progress(line: CommandLine, layout: Layout, path: str) -> ProgressDisplay:
    if line.has("dots"):
        return ZipDots()
    if sys.stderr.isatty() and layout.ranges and path not in STDOUT:
        return ProgressBar(layout.ranges[-1][1] * SECTOR) if has_bars() else ZipDots()
    return NoDisplay()


class _Packing:
    """Packs the batches into chunks, and writes them."""

    def __init__(
        self,
        packer: Packer,
        output: Output,
        progress: ProgressDisplay,
        signer: "PrivateKey | None" = None,
    ) -> None:
        self.read_bytes = self.untrue_sectors = 0
        self.input_end = 0
        self.output = output
        self._packer = packer
        self._signer = signer
        self._chunks = 0
        self._progress = progress

    def run(self, batches: Iterator[Batch]) -> None:
        for batch in batches:
            self.read_bytes += len(batch.data)
            self.untrue_sectors += sum(run.size for run in batch.untrue)
            self.input_end = batch.extents[-1].end * SECTOR
            self._write(self._packer.add(batch))

    def end(self, end: int, relocation: Relocation | None) -> None:
        for number, chunk in enumerate(self._packer.finish(end, relocation)):
            if number:
                self._progress.advance(self.input_end)
            self._put(chunk)

    def _write(self, chunks: Iterator[bytearray]) -> None:
        for chunk in chunks:
            self._put(chunk)
            self._progress.advance(self.input_end)

    def _put(self, chunk: bytearray) -> None:
        if self._signer:
            self._signer.sign(chunk, self._chunks)
        self._chunks += 1
        self.output.write(chunk)


def _say_result(packing: _Packing, layout: Layout, source: Source, seconds: float) -> None:
    if packing.untrue_sectors:
        say(f"WARNING: {packing.untrue_sectors} sectors could not be read; the image says which")
    end = layout.ranges[-1][1] * SECTOR if layout.ranges else source.size
    say(f"{end} input ({packing.read_bytes} compressed) bytes in {seconds:.3f} seconds")
    say(f"Image size: {packing.output.size} bytes")
    say(f"{packing.read_bytes / max(seconds, 1e-6) / _CHUNK:.3f}MB/second compressed")
    say(f"Finished in {seconds:.3f} seconds")
