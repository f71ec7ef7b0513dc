"""What can go wrong on the wire, and the exit status that the programs end with."""


class FrisbeeError(Exception):
    """Base of the room's errors; ``exit_status`` is what the program ends with."""

    exit_status = 255


class UsageError(FrisbeeError):
    """The command line cannot be understood."""

    exit_status = 1


class NotOffered(UsageError):
    """An option of the original program that this one does not have; the message says why."""


class MalformedPacket(FrisbeeError):
    """A datagram is not a packet of this protocol; it is dropped and counted."""


class TransferFailed(FrisbeeError):
    """What was received is not an image, or the disk does not take it."""

    exit_status = 1


class ImageChanged(FrisbeeError):
    """The file that is served was written to meanwhile: nobody can be sure of what they get."""

    exit_status = 1


class PortInUse(FrisbeeError):
    """Another program has the port (EADDRINUSE)."""

    exit_status = 98


class ServerSilent(FrisbeeError):
    """Nothing came from the server within the silence limit (ETIMEDOUT)."""

    exit_status = 110


class NotVouchedFor(ServerSilent):
    """What came is not what the manifest vouches for, and nothing else came in time."""
