"""What can go wrong in the emulated testbed only."""

from rhubarbe.annexe.errors import AnnexeError


class NoRoom(AnnexeError):
    """No free loopback network, or a directory that belongs to something else."""
