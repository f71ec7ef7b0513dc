"""What imageunzip tells of how far it is, and at its end."""

import sys
from dataclasses import dataclass

from rhubarbe.imaging.commandline import CommandLine, say
from rhubarbe.imaging.imagefile import ImageFile
from rhubarbe.imaging.progress import (
    NoDisplay,
    ProgressBar,
    ProgressDisplay,
    UnzipDots,
    has_bars,
)
from rhubarbe.imaging.restore import Totals, Written
from rhubarbe.ndz.header import HEADER_AREA, SECTOR, parse_header


@dataclass(slots=True)
class Pace:
    """Turns written chunks into progress; called from the threads of the restorer."""

    progress: ProgressDisplay
    total: int
    chunks: int = 0
    effective: int = 0

    def count(self, _index: int, written: Written) -> None:
        """Tell that one more chunk is on its way to the disk."""
        self.chunks += 1
        self.effective += written.effective_bytes
        self.progress.advance(self.effective, remaining=max(self.total - self.chunks, 0))


def choose_dots(line: CommandLine) -> ProgressDisplay:
    """Return the dots that were asked for."""
    if line.has("dots") or line.has("gigabyte-dots"):
        return UnzipDots(chunks=line.has("dots"), gigabytes=line.has("gigabyte-dots"))
    return NoDisplay()


def choose_progress(line: CommandLine, image: ImageFile) -> ProgressDisplay:
    """Return the dots that were asked for, or else a bar where a person looks."""
    if line.has("dots") or line.has("gigabyte-dots"):
        return choose_dots(line)
    if sys.stderr.isatty() and image.count:
        if has_bars():
            return ProgressBar(_covered_bytes(image))
        return UnzipDots(chunks=True, gigabytes=False)
    return NoDisplay()


def _covered_bytes(image: ImageFile) -> int:
    place = image.count - 1
    return parse_header(image.read(place, HEADER_AREA), place).last * SECTOR


def say_totals(totals: Totals, seconds: float, *, zeroed: bool) -> None:
    """Print the closing lines; with `zeroed`, those of the free space too."""
    say(
        f"Decompressed {totals.decompressed} bytes, wrote {totals.effective} bytes "
        f"({totals.actual} actual) in {seconds:.3f} seconds"
    )
    average = totals.actual // max(totals.writes, 1)
    say(f"{totals.actual} bytes of data in {totals.writes} ops ({average} bytes/op), 0 seeks")
    if zeroed:
        say(f"  {totals.data} bytes of disk data")
        say(f"  {totals.zero} bytes of zero data")
