"""The program that restores an image onto a disk, a slice of one, a file or a pipe."""

import os
import sys
import time
from dataclasses import dataclass

from rhubarbe.imaging.commandline import CommandLine, Option, Program, say
from rhubarbe.imaging.devices import STDOUT, refuse_same, reopened
from rhubarbe.imaging.errors import TargetError, TargetTooSmall, UsageError
from rhubarbe.imaging.fitting import LOST, ImageExtent
from rhubarbe.imaging.imagefile import STDIN, ImageFile
from rhubarbe.imaging.progress import (
    NoDisplay,
    ProgressBar,
    ProgressDisplay,
    UnzipDots,
    has_bars,
    shown,
)
from rhubarbe.imaging.restore import MEMORY_MIB, Restorer, Totals, Written
from rhubarbe.imaging.signature import PublicKey
from rhubarbe.imaging.slicetype import Change, type_changes, write_changes
from rhubarbe.imaging.target import Target
from rhubarbe.imaging.vouching import read_manifest
from rhubarbe.ndz.arrangement import words_on_rest
from rhubarbe.ndz.errors import DamagedChunk, NdzError, TruncatedImage
from rhubarbe.ndz.header import HEADER_AREA, SECTOR, parse_header
from rhubarbe.ndz.manifest import UNDERSTOOD, Manifest

PROGRAM = Program(
    name="imageunzip",
    usage="[options] IMAGE|- [OUTPUT|-]",
    purpose="Restore an ndz image; without OUTPUT, to the standard output.",
    options=[
        Option("s", "slice", "restore into this slice of the output, as its table counts", "N"),
        Option("D", "dos-type", "afterwards set the type of that slice", "TYPE"),
        Option("z", "zero", "make the free space zero too"),
        Option("o", "dots", "print a dot for each chunk"),
        Option("O", "gigabyte-dots", "print a dot for each 10^9 bytes"),
        Option("n", "single", "use one thread"),
        Option("W", "memory", f"memory to use in MiB (default {MEMORY_MIB})", "MIB"),
        Option("f", "direct", "write past the page cache"),
        Option("", "as-device", "take a file as a disk: keep its size and content (else emptied)"),
        Option("", "force", "write also to a disk that is in use"),
        Option("", "verify", "read back from the disk what was written, and compare"),
        Option(
            "",
            "manifest",
            "write only what this manifest (FILE, -, HOST:PORT) vouches for",
            "PLACE",
        ),
        Option("", "manifest-digest", "the digest that the manifest must have", "HEX"),
        Option("a", "auth-key", "check the signatures with this public key", "KEYFILE"),
        Option("u", "uuid", "refuse an image of another UUID (32 hexadecimal digits)", "HEX"),
        Option("d", "debug", "accepted, and ignored"),
        Option("h", "help", "print this"),
        Option("v", "version", "print the version"),
    ],
    epilogue="example: imageunzip -o debian.ndz /dev/sda",
    takes=UNDERSTOOD,
)


@dataclass(slots=True)
class _Pace:
    """Turns written chunks into progress; called from the threads of the restorer."""

    progress: ProgressDisplay
    total: int
    chunks: int = 0
    effective: int = 0

    def count(self, _index: int, written: Written) -> None:
        self.chunks += 1
        self.effective += written.effective_bytes
        self.progress.advance(self.effective, remaining=max(self.total - self.chunks, 0))


def main(argv: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    return PROGRAM.run(argv, _work)


def _work(line: CommandLine) -> int:
    if len(line.arguments) not in {1, 2}:
        raise UsageError("an image and an output are needed")
    if line.has("dos-type") and not line.has("slice"):
        raise UsageError("-D sets the type of a slice: -s is needed with it")
    manifest = _load_manifest(line)
    image = ImageFile(line.arguments[0])
    try:
        if image.is_file:
            _arrange(image, manifest)
        extent = image.extent()
        refuse_same(image.descriptor, image.name, _output(line))
        with _open_target(line) as target:
            _refuse_mixed(image, target)
            if extent and target.is_slice:
                _refuse_beyond(image, target)
            changes = _type_changes(line, target)
            _restore(line, image, target, extent, manifest)
            if changes:
                _set_type(line, target, changes)
    except NdzError as error:
        if not str(error).startswith(image.name):
            error.args = (f"{image.name}: {error}",)
        raise
    finally:
        image.close()
    return 0


def _output(line: CommandLine) -> str:
    return line.arguments[1] if len(line.arguments) > 1 else STDOUT[0]


def _refuse_beyond(image: ImageFile, target: Target) -> None:
    """Raise TargetTooSmall where an image has more than zeros beyond the end of a slice."""
    size = target.size or 0
    for place, end in image.data_beyond(size):
        raise TargetTooSmall(
            f"{target.name}: the slice is too small, nothing was written: {image.name} has data up "
            f"to byte {end} (chunk {place}), the slice has {size}"
        )


def _refuse_mixed(image: ImageFile, target: Target) -> None:
    """Raise TargetError where the free space of one image would be written over another one."""
    if image.arrangement.is_apart or not (target.zero_free and not target.is_fresh):
        return
    raise TargetError(
        f"{target.name}: nothing was written: {image.name} has several images, and what is free "
        "in one of them is not in another: they go into a new file, or without -z onto a disk"
    )


def _open_target(line: CommandLine) -> Target:
    target = Target.open(
        _output(line),
        zero_free=line.has("zero"),
        keep_size=line.has("as-device"),
        slice_number=line.number("slice", 0, 1, 128) or None,
        direct=line.has("direct"),
        force=line.has("force"),
        verifies=line.has("verify"),
    )
    if target.is_ordered and not line.has("zero"):
        say("WARNING: output file is not seekable, must zero-fill free space")
    return target


def _load_manifest(line: CommandLine) -> Manifest | None:
    digest = line.text("manifest-digest") if line.has("manifest-digest") else None
    if not line.has("manifest"):
        if line.has("manifest-digest"):
            raise UsageError("--manifest-digest is of a manifest: --manifest is needed with it")
        return None
    if line.text("manifest") == line.arguments[0] == STDIN:
        raise UsageError("image and manifest cannot both come from the standard input")
    return read_manifest(line.text("manifest"), digest)


def _arrange(image: ImageFile, manifest: Manifest | None) -> None:
    """See that the file has whole images, in whatever order; raise NdzError, or say what is odd."""
    arrangement = image.arrange()
    if manifest and len(arrangement.images) > 1:
        raise NdzError(f"{image.name}: {arrangement.remarks[0]}: a manifest is of one image")
    for remark in arrangement.remarks:
        say(f"WARNING: {image.name}: {remark}")
    if manifest and image.count != manifest.chunks:
        raise TruncatedImage(
            f"{image.name}: {image.count} chunks, its manifest has {manifest.chunks}"
        )


def _restore(
    line: CommandLine,
    image: ImageFile,
    target: Target,
    extent: ImageExtent | None,
    manifest: Manifest | None,
) -> None:
    started = time.monotonic()
    progress = _choose_progress(line, image)
    restorer = Restorer(
        target,
        threads=1 if line.has("single") else None,
        memory_mib=line.number("memory", MEMORY_MIB, 8),
        on_chunk=_Pace(progress, image.count).count,
        verify=line.has("verify"),
        manifest=manifest,
        images=[len(each) for each in image.arrangement.images],
    )
    with shown(progress):
        totals = _submit_all(restorer, line, image, extent)
    if image.rest and not image.is_file:
        say(f"WARNING: {image.name}: {words_on_rest(image.rest)}")
    for kind in restorer.unknown_relocations:
        say(f"Ignoring unknown relocation type {kind}")
    if target.is_truncated:
        say("WARNING: image too large for target slice, truncating (only zeros are left out)")
    if restorer.has_lost:
        say(f"WARNING: {target.name}: {LOST}")
    if not isinstance(progress, UnzipDots):
        _say_totals(totals, time.monotonic() - started, zeroed=line.has("zero"))
    if line.has("verify"):
        compared, is_proven = restorer.verify()
        from_where = "from the disk itself" if is_proven else "perhaps from the page cache"
        say(f"Verified {compared} bytes, read back {from_where}")


def _submit_all(
    restorer: Restorer, line: CommandLine, image: ImageFile, extent: ImageExtent | None
) -> Totals:
    try:
        key = _load_key(line)
        for index, chunk in enumerate(image.chunks()):
            if index == 0:
                _check_first(line, chunk)
            if key:
                key.check(chunk, index)
            if index == 0:
                for remark in restorer.begin(chunk, extent):
                    say(remark)
            restorer.wait_for_room()
            restorer.submit(index, chunk)
        return restorer.finish()
    except Exception:
        restorer.abort()
        raise


def _load_key(line: CommandLine) -> "PublicKey | None":
    if not line.has("auth-key"):
        return None
    from rhubarbe.imaging.signature import PublicKey  # few images are signed

    return PublicKey.load(line.text("auth-key"))


def _check_first(line: CommandLine, chunk: bytearray) -> None:
    """Check what the first chunk says for all of them: that its UUID is the one asked for."""
    security = parse_header(chunk, 0).security
    if line.has("uuid") and security.image_id.hex() != line.text("uuid").lower():
        raise DamagedChunk(0, f"belongs to image {security.image_id.hex()}")
    if security.signed and not line.has("auth-key"):
        say("WARNING: the image is signed; without -a KEYFILE its signatures are not checked")


def _type_changes(line: CommandLine, target: Target) -> list[Change]:
    if not line.has("dos-type"):
        return []
    number, kind = line.number("slice", 0), line.number("dos-type", 0, 1, 255)
    with reopened(target.descriptor, os.O_RDONLY) as descriptor:
        return type_changes(descriptor, target.name, number, kind)


def _set_type(line: CommandLine, target: Target, changes: list[Change]) -> None:
    number, kind = line.number("slice", 0), line.number("dos-type", 0, 1, 255)
    with reopened(target.descriptor, os.O_RDWR) as descriptor:
        write_changes(descriptor, changes)
    say(f"Set partition {number} type to 0x{kind:04X}")


def _choose_progress(line: CommandLine, image: ImageFile) -> ProgressDisplay:
    if line.has("dots") or line.has("gigabyte-dots"):
        return UnzipDots(chunks=line.has("dots"), gigabytes=line.has("gigabyte-dots"))
    if sys.stderr.isatty() and image.count:
        if has_bars():
            return ProgressBar(_covered_bytes(image))
        return UnzipDots(chunks=True, gigabytes=False)
    return NoDisplay()


def _covered_bytes(image: ImageFile) -> int:
    place = image.count - 1
    return parse_header(image.read(place, HEADER_AREA), place).last * SECTOR


def _say_totals(totals: Totals, seconds: float, *, zeroed: bool) -> None:
    say(
        f"Decompressed {totals.decompressed} bytes, wrote {totals.effective} bytes "
        f"({totals.actual} actual) in {seconds:.3f} seconds"
    )
    average = totals.actual // max(totals.writes, 1)
    say(f"{totals.actual} bytes of data in {totals.writes} ops ({average} bytes/op), 0 seeks")
    if zeroed:
        say(f"  {totals.data} bytes of disk data")
        say(f"  {totals.zero} bytes of zero data")
