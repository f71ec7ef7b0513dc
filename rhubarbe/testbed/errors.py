"""What can go wrong in the emulated testbed; each class knows the exit code that it becomes."""


class TestbedError(Exception):
    """The root: anything that the testbed reports as one line instead of a traceback."""

    __test__ = False  # the name is the annexe's, not that of a test case
    exit_code = 1


class Misused(TestbedError):
    """A node, fault or number on the command line that is none; nothing was started."""

    exit_code = 2


class MissingProgram(TestbedError):
    """A program that the testbed needs is not installed."""


class ProgramFailed(TestbedError):
    """A program that the testbed ran ended with another status than 0, or took too long."""


class NoRoom(TestbedError):
    """No free loopback network, or a directory that belongs to something else."""
