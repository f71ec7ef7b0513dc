"""What can be wrong with a disk, or with what is on it; each message is one line."""


class DiskError(Exception):
    """The root: what is raised of whatever bytes there are."""


class PartitionError(DiskError):
    """There is no partition table, or one that cannot be, or not the slice asked for."""


class EmptyTable(PartitionError):
    """There is a partition table, and no partition in it."""


class FilesystemError(DiskError):
    """A filesystem is not what its partition says, or keeps what is asked for in an unknown way."""


class AbsentFile(FilesystemError):
    """The filesystem is read, and has no such file."""
