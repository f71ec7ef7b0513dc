"""What all the headers of an image say together: counts and sizes."""

from dataclasses import dataclass, field

from rhubarbe.ndz.header import SECTOR, ChunkHeader

SIZES = (4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the classes of sizes, in KiB; one more class has what is larger."""


@dataclass(slots=True)
class Spread:
    """Number, sum and extremes of some sizes in bytes."""

    count: int = 0
    total: int = 0
    smallest: int = 0
    largest: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.smallest = min(self.smallest, size) if self.count else size
        self.largest = max(self.largest, size)
        self.count += 1
        self.total += size

    def __str__(self) -> str:
        average = self.total // max(self.count, 1)
        return f"{average}/{self.smallest}/{self.largest} ave/min/max size"


@dataclass(slots=True)
class Census:
    """What all the headers of an image say together."""

    chunks: int = 0
    version: int = 0
    compressed: int = 0
    first: int = 0
    last: int = 0
    allocated: Spread = field(default_factory=Spread)
    free: Spread = field(default_factory=Spread)
    regions: Spread = field(default_factory=Spread)
    sizes: list[int] = field(default_factory=lambda: [0] * (len(SIZES) + 1))
    relocations: Spread = field(default_factory=Spread)
    _reach: int = 0

    def add(self, header: ChunkHeader) -> None:
        """Count one more chunk."""
        if not self.chunks:
            self.first = self._reach = header.first
        self.chunks += 1
        self.version = header.version
        self.compressed += header.size
        self.last = header.last
        self.regions.add(len(header.regions))
        for relocation in header.relocations:
            self.relocations.add(relocation.size)
        for region in header.regions:
            self._count_free(region.start)
            self._count_data(region.size * SECTOR)
            self._reach = region.end

    def finish(self) -> None:
        """Say that no chunk follows."""
        self._count_free(self.last)

    def _count_free(self, end: int) -> None:
        if end > self._reach:
            self.free.add((end - self._reach) * SECTOR)

    def _count_data(self, size: int) -> None:
        self.allocated.add(size)
        slot = next((n for n, limit in enumerate(SIZES) if size < limit << 10), len(SIZES))
        self.sizes[slot] += 1
