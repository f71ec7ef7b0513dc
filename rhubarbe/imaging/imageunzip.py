"""The program that restores an image onto a disk, a slice of one, a file or a pipe."""

import os
import time
from collections.abc import Iterable

from rhubarbe.imaging.commandline import CommandLine, Option, Program, say
from rhubarbe.imaging.devices import refuse_same, reopened
from rhubarbe.imaging.errors import ImagingError, TargetError, TargetTooSmall, UsageError
from rhubarbe.imaging.fitting import LOST, ImageExtent
from rhubarbe.imaging.imagefile import STDIN, ImageFile
from rhubarbe.imaging.progress import UnzipDots, shown
from rhubarbe.imaging.rawcopy import copy_raw
from rhubarbe.imaging.restore import MEMORY_MIB, Restorer, Totals
from rhubarbe.imaging.signature import PublicKey
from rhubarbe.imaging.slicetype import Change, type_changes, write_changes
from rhubarbe.imaging.target import Target
from rhubarbe.imaging.unzipoptions import (
    REFUSED,
    memory_mib,
    output,
    pattern,
    refuse_contradiction,
    threads,
)
from rhubarbe.imaging.unziptelling import Pace, choose_dots, choose_progress, say_totals
from rhubarbe.imaging.vouching import read_manifest
from rhubarbe.ndz.arrangement import words_on_rest
from rhubarbe.ndz.errors import DamagedChunk, NdzError, TruncatedImage
from rhubarbe.ndz.header import parse_header
from rhubarbe.ndz.manifest import UNDERSTOOD, Manifest

PROGRAM = Program(
    name="imageunzip",
    usage="[options] IMAGE|- [OUTPUT|-]",
    purpose="Restore an ndz image; without OUTPUT, to the standard output.",
    options=[
        Option("s", "slice", "restore into this slice of the output, as its table counts", "N"),
        Option("D", "dos-type", "afterwards set the type of that slice", "TYPE"),
        Option("z", "zero", "make the free space zero too"),
        Option(
            "p", "pattern", "make the free space hold these 32 bits, such as 0xdeadbeef", "BITS"
        ),
        Option(
            "I", "ignore-skips", "to the standard output: the data alone, no free space between"
        ),
        Option("N", "raw-copy", "write the file as it is: it is not an image, or is to stay one"),
        Option("F", "random-order", "take the chunks in random order, as they come from a network"),
        Option("r", "retries", "ask so many times more for what IMAGE's device cannot read", "N"),
        Option("o", "dots", "print a dot for each chunk"),
        Option("O", "gigabyte-dots", "print a dot for each 10^9 bytes"),
        Option("n", "single", "use one thread"),
        Option(
            "W",
            "memory",
            f"memory to use in MiB (default {MEMORY_MIB}; 0: 1024; 6 at least)",
            "MIB",
        ),
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
        Option(
            "a",
            "auth-key",
            "check signatures by this public key: IMAGE.skey's first two lines",
            "KEYFILE",
        ),
        Option("u", "uuid", "refuse an image of another UUID (32 hexadecimal digits)", "HEX"),
        Option("d", "debug", "accepted, and ignored"),
        Option("h", "help", "print this"),
        Option("v", "version", "print the version"),
    ],
    epilogue="example: imageunzip -o debian.ndz /dev/sda",
    takes=UNDERSTOOD,
    refused=REFUSED,
)


def main(argv: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    return PROGRAM.run(argv, _work)


def _work(line: CommandLine) -> int:
    refuse_contradiction(line)
    manifest = _load_manifest(line)
    image = ImageFile(line.arguments[0], line.number("retries", 0))
    try:
        refuse_same(image.descriptor, image.name, output(line))
        (_copy if line.has("raw-copy") else _unzip)(line, image, manifest)
    except NdzError as error:
        if not str(error).startswith(image.name):
            error.args = (f"{image.name}: {error}",)
        raise
    finally:
        image.close()
    return 0


def _copy(line: CommandLine, image: ImageFile, _manifest: Manifest | None) -> None:
    """Write the file as it is, and say how much that was."""
    started = time.monotonic()
    with _open_target(line) as target, shown(progress := choose_dots(line)):
        copied = copy_raw(image, target, progress)
    say(f"Copied {copied} bytes in {time.monotonic() - started:.3f} seconds")


def _unzip(line: CommandLine, image: ImageFile, manifest: Manifest | None) -> None:
    if image.is_file:
        _arrange(image, manifest)
    elif line.has("random-order"):
        raise ImagingError(f"-F: the chunks of {image.name} come in their order only")
    extent = image.extent()
    with _open_target(line) as target:
        _refuse_mixed(image, target)
        if extent and target.is_slice:
            _refuse_beyond(image, target)
        changes = _type_changes(line, target)
        _restore(line, image, target, extent, manifest)
        if changes:
            _set_type(line, target, changes)


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
    filling = pattern(line)
    fills = line.has("zero") or filling is not None
    target = Target.open(
        output(line),
        zero_free=fills,
        keep_size=line.has("as-device"),
        slice_number=line.number("slice", 0, 1, 128) or None,
        direct=line.has("direct"),
        force=line.has("force"),
        verifies=line.has("verify"),
    )
    if line.has("random-order") and target.is_ordered:
        target.close()
        raise TargetError(f"-F: {target.name} takes the chunks in their order only")
    if filling is not None:
        target.fill_with(filling)
    if line.has("ignore-skips"):
        target.pack()
    elif target.is_ordered and not (fills or line.has("raw-copy")):
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
    progress = choose_progress(line, image)
    restorer = Restorer(
        target,
        threads=threads(line),
        memory_mib=memory_mib(line),
        on_chunk=Pace(progress, image.count).count,
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
        zeroed = line.has("zero") or line.has("pattern")
        say_totals(totals, time.monotonic() - started, zeroed=zeroed)
    if line.has("verify"):
        compared, is_proven = restorer.verify()
        from_where = "from the disk itself" if is_proven else "perhaps from the page cache"
        say(f"Verified {compared} bytes, read back {from_where}")


def _submit_all(
    restorer: Restorer, line: CommandLine, image: ImageFile, extent: ImageExtent | None
) -> Totals:
    try:
        key = _load_key(line)
        for index, chunk in _chunks(line, image):
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


def _chunks(line: CommandLine, image: ImageFile) -> Iterable[tuple[int, bytearray]]:
    """Return (number, chunk) in the order to be written: the first one tells what the disk is."""
    if not line.has("random-order") or not image.count:
        return enumerate(image.chunks())
    import random  # costs some ms, and few ask for it

    return image.picked([0, *random.sample(range(1, image.count), image.count - 1)])


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
