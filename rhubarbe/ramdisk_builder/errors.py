"""What can go wrong only while a ramdisk or a system is built."""

from rhubarbe.annexe.errors import AnnexeError


class PackageError(AnnexeError):
    """A Debian package cannot be had, or lacks what is expected in it."""


class FormatError(AnnexeError):
    """A file is not what its name says: a program or module that is no ELF file."""


class TreeError(AnnexeError):
    """The files of a system contradict each other."""
