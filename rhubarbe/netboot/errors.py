"""What can go wrong while a ramdisk or a system is built; each class knows its exit code."""


class NetbootError(Exception):
    """The root: anything that is reported as one line instead of a traceback."""

    exit_code = 1


class Misused(NetbootError):
    """The command line asks for what cannot be; nothing was touched."""

    exit_code = 2


class MissingProgram(NetbootError):
    """A program of this machine is needed, and not installed."""


class ProgramFailed(NetbootError):
    """A program ended with another status than 0, or took too long."""


class PackageError(NetbootError):
    """A Debian package cannot be had, or lacks what is expected in it."""


class FormatError(NetbootError):
    """A file is not what its name says: a program or module that is no ELF file."""


class TreeError(NetbootError):
    """The files of a system contradict each other."""
