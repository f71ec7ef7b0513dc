"""How a client asks to join, and which reply tells it the size of the file."""

from rhubarbe.frisbee.errors import TransferFailed
from rhubarbe.frisbee.packets import (
    BLOCK_SIZE,
    BLOCKS_PER_CHUNK,
    CHUNK_SIZE,
    Join,
    Join2,
    Joined,
    Joined2,
    Packet,
)

JOIN_INTERVAL_S = 0.5
_IN_VAIN_S = 0.05  # after which a server that is there has not heard us, or its reply was lost
_MOST_BLOCKS = 1 << 31


class Joining:
    """Asks each half second, sooner while blocks go by, until a reply tells the size of the file.

    Anybody can reply. Where ``chunks`` is not 0, replies that tell another number are passed over.
    """

    def __init__(self, client: int, *, now: float, raw: bool, chunks: int = 0) -> None:
        self.due = self._asked_at = now
        self._client = client
        self._raw = raw
        self._chunks = chunks

    def poll(self, now: float) -> list[Packet]:
        """Return what is to be sent now."""
        if now < self.due:
            return []
        self.due = now + JOIN_INTERVAL_S
        self._asked_at = now
        return [Join2(self._client) if self._raw else Join(self._client)]

    def misses(self) -> None:
        """Note that blocks go by: each that is missed has to be sent again, so ask again soon."""
        self.due = min(self.due, self._asked_at + _IN_VAIN_S)

    def refuses(self, reply: Joined | Joined2) -> bool:
        """Whether a reply that would be for us tells of a file that cannot be ours."""
        return bool(self._chunks) and self._is_ours(reply) and not self.size(reply)

    def size(self, reply: Joined | Joined2) -> int:
        """Return the size of the file in bytes, or 0 where the reply is none for us.

        Raises:
            TransferFailed: the server's blocks or chunks are of another size.

        """
        if not self._is_ours(reply):
            return 0
        if isinstance(reply, Joined2):
            if (reply.chunk_blocks, reply.block_bytes) != (BLOCKS_PER_CHUNK, BLOCK_SIZE):
                return self._other_geometry(reply)
            size = reply.size
        else:
            size = reply.blocks * BLOCK_SIZE
        is_ours = size == self._chunks * CHUNK_SIZE if self._chunks else size > 0
        return size if is_ours and -(-size // BLOCK_SIZE) < _MOST_BLOCKS else 0

    def _is_ours(self, reply: Joined | Joined2) -> bool:
        if isinstance(reply, Joined):
            return not self._raw
        return self._raw and reply.client == self._client

    def _other_geometry(self, reply: Joined2) -> int:
        if self._chunks:
            return 0
        geometry = f"{reply.chunk_blocks}/{reply.block_bytes}"
        raise TransferFailed(f"server's chunk/block size is {geometry}, not 1024/1024")
