"""What can be wrong with an image; each message is one line that names the chunk."""


class NdzError(Exception):
    """The root: an image that cannot be read as it stands."""


class NotAnImage(NdzError):
    """The bytes are no ndz image, or one of a version that nobody writes."""


class TruncatedImage(NdzError):
    """The image is empty, or is not a whole number of chunks, or lacks its last ones."""


class UnsupportedImage(NdzError):
    """A whole image that asks for something this reader does not do, such as a cipher."""


class DamagedChunk(NdzError):
    """One chunk is not what its header, its seal or its place in the image says."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"chunk {index}: {reason}")
        self.index = index
        self.reason = reason


class UnvouchedChunk(DamagedChunk):
    """A chunk is not the one that the manifest vouches for."""


class ImageTooLarge(NdzError):
    """The disk has used sectors beyond what the 32 bits of a region count."""


class BadManifest(NdzError):
    """A manifest that is not the one asked for, or that cannot be one."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"manifest: {reason}")


class CheckStopped(NdzError):
    """The caller ended a check before all chunks were looked at."""
