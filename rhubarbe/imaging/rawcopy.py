"""An image, or any file, as it is onto a disk, into a file or a pipe (`imageunzip -N`)."""

from rhubarbe.imaging.errors import TargetTooSmall
from rhubarbe.imaging.imagefile import ImageFile
from rhubarbe.imaging.progress import ProgressDisplay
from rhubarbe.imaging.target import Target
from rhubarbe.ndz.header import CHUNK


def copy_raw(image: ImageFile, target: Target, progress: ProgressDisplay) -> int:
    """Write all bytes of a file as they are; return how many.

    Raises TargetTooSmall, before anything is written where the size is known, and TargetError.
    """
    if image.is_file and target.size is not None and image.size > target.size:
        raise TargetTooSmall(
            f"{target.name}: too small, nothing was written: write error: No space left on device "
            f"({image.name} has {image.size} bytes, the disk {target.size})"
        )
    copied = 0
    for piece in image.pieces():
        target.write(copied, piece)
        copied += len(piece)
        progress.advance(copied, remaining=max(-(-(image.size - copied) // CHUNK), 0))
    target.sync()
    return copied
