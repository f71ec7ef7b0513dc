"""How eager a client is, and what came of it: its options and its statistics."""

from typing import NamedTuple


class Tuning(NamedTuple):
    """How eager a client is; chunks, but ``redo`` and ``silence`` in seconds."""

    buffers: int = 64
    read_ahead: int = 2
    in_progress: int = 8
    redo: float = 1.0
    idle_ticks: int = 3
    silence: float = 0.0
    randomize: bool = True
    last_first: bool = False  # the last chunk says how large a disk the image needs

    def capped(self, chunks: int) -> "Tuning":
        """Fit these to a file of so many chunks; 0 buffers means one for each."""
        buffers = min(self.buffers or chunks, chunks)
        ahead = min(self.read_ahead, chunks)
        progress = min(max(self.in_progress, 4 * self.read_ahead), buffers)
        return self._replace(buffers=buffers, read_ahead=ahead, in_progress=progress)


class Counts:
    """What is told in the statistics."""

    def __init__(self) -> None:
        self.joins = self.requests = self.partial_requests = self.lost_blocks = 0
        self.repeated_requests = self.full_repeats = self.idles = 0
        self.duplicate_chunk = self.duplicate_block = self.no_free_chunks = self.partial_drops = 0
