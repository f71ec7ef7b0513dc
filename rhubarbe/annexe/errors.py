"""What can go wrong in any annexe; each class knows the exit code that it becomes."""


class AnnexeError(Exception):
    """The root: anything that is reported as one line instead of a traceback."""

    exit_code = 1


class Misused(AnnexeError):
    """The command line asks for what cannot be; nothing was touched."""

    exit_code = 2


class MissingProgram(AnnexeError):
    """A program of this machine is needed, and not installed."""


class NotOurs(AnnexeError):
    """Somebody else laid something under a name that is to be written."""


class ProgramFailed(AnnexeError):
    """A program ended with another status than 0, or took too long."""
