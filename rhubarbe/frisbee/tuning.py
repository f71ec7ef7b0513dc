"""How eager a client is, and what came of it: its options and its statistics."""

from typing import NamedTuple

MOST_ENDS = 2
"""Chunks that are asked for before all others."""


class Tuning(NamedTuple):
    """How eager a client is; chunks, but ``redo`` and ``silence`` in seconds."""

    buffers: int = 64
    read_ahead: int = 2
    in_progress: int = 8
    redo: float = 1.0
    idle_ticks: int = 3
    silence: float = 0.0
    randomize: bool = True
    ends_first: bool = False  # the first and the last chunk say what disk the image needs

    def capped(self, chunks: int) -> "Tuning":
        """Fit these to a file of so many chunks; 0 buffers means one for each."""
        least = MOST_ENDS + 1 if self.ends_first else 1
        buffers = min(max(self.buffers, least) if self.buffers else chunks, chunks)
        ahead = min(self.read_ahead, chunks)
        progress = min(max(self.in_progress, 4 * self.read_ahead), buffers)
        return self._replace(buffers=buffers, read_ahead=ahead, in_progress=progress)


class Counts:
    """What is told in the statistics."""

    def __init__(self) -> None:
        self.joins = self.requests = self.partial_requests = self.lost_blocks = 0
        self.repeated_requests = self.full_repeats = self.idles = 0
        self.duplicate_chunk = self.duplicate_block = self.no_free_chunks = self.partial_drops = 0
        self.rejections = 0
