"""What can go wrong with a disk while it is imaged or restored; each message is one line."""

from rhubarbe.disk.errors import DiskError


class ImagingError(DiskError):
    """The root of this room; the programs print any DiskError and end with status 1."""


class TargetError(ImagingError):
    """The output cannot be opened or written."""


class TargetTooSmall(TargetError):
    """The image has data, or a partition, beyond the end of the output."""


class WrongSectorSize(TargetError):
    """The logical sectors of the output are not as large as those of the disk in the image."""


class VerifyError(ImagingError):
    """What is on the disk is not what was written to it."""


class SourceError(ImagingError):
    """The input cannot be read, or has used sectors that an image cannot count."""


class NotOffered(ImagingError):
    """The command line asks for what the original has, and this program has not."""


class UsageError(ImagingError):
    """The command line asks for what cannot be."""
