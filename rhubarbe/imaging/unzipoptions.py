"""Options of imageunzip that the original has: those refused, those that exclude others."""

from rhubarbe.imaging.commandline import CIPHER, CommandLine
from rhubarbe.imaging.devices import STDOUT
from rhubarbe.imaging.errors import UsageError
from rhubarbe.imaging.restore import MEMORY_MIB

REFUSED = {
    "c": "no image has checksums that nobody signed, as the original says too; seals are always"
    " checked, signatures with -a KEYFILE",
    "C": "which checksum the original prints is not documented; imagedump --check proves an image,"
    " and imageunzip IMAGE - | sha256sum has a checksum of what is restored",
    "M": "what the original does at that sector is not documented; a disk that is too small for the"
    " image is refused before anything is written, and -s keeps within a slice",
    "E": "nothing is erased, nor does the original do so as it is built; blkdiscard(8) does",
    "e": CIPHER,
    "k": CIPHER,
}

_LEAST_FOR_THREADS = 8
_UNBOUNDED_MIB = 1024
_OF_IMAGES = [
    *("slice", "dos-type", "zero", "pattern", "ignore-skips", "random-order"),
    *("manifest", "manifest-digest", "auth-key", "uuid", "verify"),
]
_OF_PLACES = ["zero", "pattern", "slice", "as-device", "verify", "direct", "random-order"]


def refuse_contradiction(line: CommandLine) -> None:
    """Raise UsageError where one option undoes what another one asks for."""
    if len(line.arguments) not in {1, 2}:
        raise UsageError("an image and an output are needed")
    if line.has("dos-type") and not line.has("slice"):
        raise UsageError("-D sets the type of a slice: -s is needed with it")
    if line.has("raw-copy"):
        _refuse_others(line, _OF_IMAGES, "-N copies the file as it is: --{name} is for images")
    if line.has("ignore-skips"):
        if output(line) not in STDOUT:
            raise UsageError("-I leaves no place to data: it is for the standard output only")
        _refuse_others(line, _OF_PLACES, "-I leaves no place to data: --{name} needs one")


def _refuse_others(line: CommandLine, names: list[str], words: str) -> None:
    for name in names:
        if line.has(name):
            raise UsageError(words.format(name=name))


def output(line: CommandLine) -> str:
    """Return what is written to."""
    return line.arguments[1] if len(line.arguments) > 1 else STDOUT[0]


def pattern(line: CommandLine) -> bytes | None:
    """Return the four bytes that free space is to hold, None where no pattern was given.

    The number is 32 bits of a little-endian machine, as the original's are where it runs.
    """
    if not line.has("pattern"):
        return None
    return line.number("pattern", 0, 0, (1 << 32) - 1).to_bytes(4, "little")


def memory_mib(line: CommandLine) -> int:
    """Return how much memory to use, in MiB."""
    return line.number("memory", MEMORY_MIB) or _UNBOUNDED_MIB


def threads(line: CommandLine) -> int | None:
    """Return how many threads to use, None for as many as there are processors."""
    return 1 if line.has("single") or memory_mib(line) < _LEAST_FOR_THREADS else None
