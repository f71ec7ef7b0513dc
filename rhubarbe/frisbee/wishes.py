"""What is wanted of a file, and by whom: addresses take turns, so that none gets all of a server.

Equal requests become one, so that one transmission serves all who wait for it.
"""

from typing import NamedTuple

_MOST_ADDRESSES = 2048
_MOST_OF_AN_ADDRESS = 64
_ELSEWHERE = ""
# An address gets at most 32 times the file in all, or 2^20 blocks if that is more.
_MOST_IMAGES, _LEAST_BUDGET = 32, 1 << 20
# Its repairs go first while they are at most 4096 blocks more than an eighth of all that was sent.
_REPAIRS_SHARE, _FREE_REPAIRS = 8, 4096


class Wish(NamedTuple):
    """Blocks of a chunk, as a map, and whose turn it was."""

    chunk: int
    blocks: int
    address: str


class Wishes:
    """Blocks that are wanted, as one map a chunk; who asks more often gets no turn sooner.

    An address may wait for a few chunks only; other requests are dropped: clients ask again.
    """

    def __init__(self) -> None:
        self.blocks = 0
        self._wanted: dict[int, int] = {}
        self._turns: dict[str, dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, chunk: int) -> bool:
        return chunk in self._wanted

    def add(self, chunk: int, blocks: int, address: str) -> None:
        """Add what an address wants of a chunk."""
        if address not in self._turns and len(self._turns) >= _MOST_ADDRESSES:
            address = _ELSEWHERE
        chunks = self._turns.setdefault(address, {})
        if chunk in chunks or len(chunks) < _MOST_OF_AN_ADDRESS:
            chunks[chunk] = None
        elif chunk not in self._wanted:
            return
        known = self._wanted.get(chunk, 0)
        self._wanted[chunk] = known | blocks
        self.blocks += (blocks & ~known).bit_count()

    def of(self, chunk: int) -> int:
        """Return what is wanted of a chunk."""
        return self._wanted.get(chunk, 0)

    def askers(self, chunk: int) -> list[str]:
        """Return the addresses in whose turn a chunk may be."""
        if chunk not in self._wanted:
            return []
        return [address for address, chunks in self._turns.items() if chunk in chunks]

    def remove(self, chunk: int) -> int:
        """Return what was wanted of a chunk, and forget that it was."""
        blocks = self._wanted.pop(chunk, 0)
        self.blocks -= blocks.bit_count()
        return blocks

    def next(self) -> Wish:
        """Remove the first wish of the address whose turn it is; there must be one."""
        while True:
            address, chunks = next(iter(self._turns.items()))
            del self._turns[address]
            while chunks:
                chunk = next(iter(chunks))
                del chunks[chunk]
                blocks = self.remove(chunk)
                if blocks:
                    if chunks:
                        self._turns[address] = chunks
                    return Wish(chunk, blocks, address)

    def clear(self) -> None:
        """Forget all wishes."""
        self._wanted.clear()
        self._turns.clear()
        self.blocks = 0


class Accounts:
    """How many blocks were sent for each address: all of them, and repairs."""

    def __init__(self, image_blocks: int) -> None:
        self._most = max(_MOST_IMAGES * image_blocks, _LEAST_BUDGET)
        self._all = 0
        self._sent: dict[str, int] = {}
        self._repairs: dict[str, int] = {}

    def charge(self, address: str, blocks: int, *, is_repair: bool) -> None:
        """Note how many are sent for an address."""
        self._all += blocks
        _add(self._sent, address, blocks)
        if is_repair:
            _add(self._repairs, address, blocks)

    def is_modest(self, address: str) -> bool:
        """Whether the repairs of an address may go before the chunks of others."""
        return _of(self._repairs, address) <= self._all // _REPAIRS_SHARE + _FREE_REPAIRS

    def is_spent(self, address: str) -> bool:
        """Whether an address has got more than anybody needs."""
        return _of(self._sent, address) > self._most


def _add(counts: dict[str, int], address: str, blocks: int) -> None:
    if address not in counts and len(counts) >= _MOST_ADDRESSES:
        address = _ELSEWHERE
    counts[address] = counts.get(address, 0) + blocks


def _of(counts: dict[str, int], address: str) -> int:
    if address not in counts and len(counts) >= _MOST_ADDRESSES:
        address = _ELSEWHERE
    return counts.get(address, 0)
