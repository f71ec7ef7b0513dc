"""The packets of the frisbee protocol, to and from bytes.

Every integer is little-endian; ``srcip`` is the raw address of the sender. Source of the layout:
captures of the original programs. A datagram is a header of 16 bytes and ``datalen`` bytes of body.

======  ====  ========  ==========================================================
offset  size  field     meaning
======  ====  ========  ==========================================================
0       i32   type      1 request, 2 reply
4       i32   subtype   1 JOIN, 2 LEAVE, 3 BLOCK, 4 REQUEST, 5 LEAVE2, 6 PREQUEST, 7 JOIN2;
                        64 PARITY, which is ours
8       i32   datalen   bytes of body
12      4     srcip     IPv4 address of the sender
======  ====  ========  ==========================================================

Bodies (offsets from the start of the datagram):

* JOIN: 16 u32 client id; its reply: 16 i32 blocks in the file
* JOIN2, request and reply: 16 u32 client id, 20 i32 blocks, 24 i32 blocks a chunk,
  28 i32 bytes a block, 32 u64 bytes in the file
* LEAVE: 16 u32 client id, 20 i32 seconds
* LEAVE2: as LEAVE, then 24 the statistics (1028 bytes, `Statistics`)
* BLOCK (of type 1): 16 i32 chunk, 20 i32 block, 24 the 1024 bytes of the block
* REQUEST: 16 i32 chunk, 20 i32 first block, 24 i32 count
* PREQUEST: 16 i32 chunk, 20 i32 asked before, 24 block map: bit b of byte b/8 is 1 << (b % 8)
* PARITY (of type 2): 16 i32 chunk, 20 u16 how many of them follow, 22 u16 number of blocks, from 2
  to 64, 24 their numbers, u16 each and ascending, then the exclusive or of their 1024 bytes each

JOIN, JOIN2, REQUEST and PREQUEST of a client that understands PARITY have 4 more bytes behind their
body, `PARITY_MARK`, which ``datalen`` does not count: the original programs look at no more than
``datalen`` tells. So has the reply to JOIN and JOIN2 while the server sends such packets. Here it
is the field ``parity``.

A block map is an `int` here: bit b is block b, which is the wire's order read as little-endian.
"""

from collections.abc import Callable
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from rhubarbe.frisbee.errors import MalformedPacket

BLOCK_SIZE = 1024
BLOCKS_PER_CHUNK = 1024
CHUNK_SIZE = BLOCK_SIZE * BLOCKS_PER_CHUNK
WHOLE_CHUNK = (1 << BLOCKS_PER_CHUNK) - 1
MAP_BYTES = BLOCKS_PER_CHUNK // 8
STATISTICS_BYTES = 1028

REQUEST, REPLY = 1, 2
JOIN, LEAVE, BLOCK, ASK, LEAVE2, ASK_PART, JOIN2 = 1, 2, 3, 4, 5, 6, 7
PARITY = 64  # far from what any other program uses
PARITY_MARK = b"xor\x01"
# Blocks in a PARITY packet, which so fits into a frame of Ethernet.
LEAST_COMBINED, MOST_COMBINED = 2, 64

_HEADER = Struct("<iii4s")
_U32 = Struct("<I")
_I32 = Struct("<i")
_JOIN2 = Struct("<IiiiQ")
_LEAVE = Struct("<Ii")
_PAIR = Struct("<ii")
_ASK = Struct("<iii")
_PARITY = Struct("<iHH")
_STATISTICS = Struct("<4i2Q9i10Ii4I")

HEADER_BYTES = _HEADER.size
BLOCK_HEADER_BYTES = HEADER_BYTES + _PAIR.size
BLOCK_BYTES = BLOCK_HEADER_BYTES + BLOCK_SIZE
LONGEST_PARITY_BYTES = HEADER_BYTES + _PARITY.size + 2 * MOST_COMBINED + BLOCK_SIZE


class Statistics(NamedTuple):
    """What a client tells of its session: the first 128 of the 1028 bytes in LEAVE2."""

    version: int = 1
    run_seconds: int = 0
    run_milliseconds: int = 0
    delay_milliseconds: int = 0
    written_bytes: int = 0
    effective_bytes: int = 0
    chunk_buffers: int = 0
    read_ahead: int = 0
    in_progress: int = 0
    tick_us: int = 0
    start_delay_seconds: int = 0
    idle_ticks: int = 0
    idle_delay_us: int = 0
    redo_delay_us: int = 0
    randomized: int = 0
    no_chunks_ready: int = 0
    no_free_chunks: int = 0
    duplicate_chunk: int = 0
    duplicate_block: int = 0
    partial_requests: int = 0
    receive_idles: int = 0
    join_attempts: int = 0
    requests: int = 0
    decompress_blocked: int = 0
    writer_idles: int = 0
    write_memory_mb: int = 0
    lost_blocks: int = 0
    repeated_requests: int = 0
    partial_drops: int = 0
    full_repeats: int = 0


class Join(NamedTuple):
    """A client asks to join (first version), that is for the length of the file."""

    client: int
    parity: bool = False

    def body(self) -> bytes:
        """Bytes after the header."""
        return _U32.pack(self.client)


class Joined(NamedTuple):
    """Reply to any `Join`; it bears no client id."""

    blocks: int
    parity: bool = False

    def body(self) -> bytes:
        """Bytes after the header."""
        return _I32.pack(self.blocks)


class _SecondJoin(NamedTuple):
    client: int
    blocks: int = 0
    chunk_blocks: int = BLOCKS_PER_CHUNK
    block_bytes: int = BLOCK_SIZE
    size: int = 0
    parity: bool = False

    def body(self) -> bytes:
        """Bytes after the header."""
        return _JOIN2.pack(*self[:-1])


class Join2(_SecondJoin):
    """A client asks to join (second version); the original leaves garbage in two of the fields."""

    __slots__ = ()


class Joined2(_SecondJoin):
    """Reply to the `Join2` of one client: the exact size of the file in bytes."""

    __slots__ = ()


class Leave(NamedTuple):
    """A client leaves (first version) after so many seconds."""

    client: int
    elapsed: int

    def body(self) -> bytes:
        """Bytes after the header."""
        return _LEAVE.pack(*self)


class Leave2(NamedTuple):
    """A client leaves with its statistics; ``rest`` is what follows them, zeroes as a rule."""

    client: int
    elapsed: int
    statistics: Statistics
    rest: bytes = bytes(STATISTICS_BYTES - _STATISTICS.size)

    def body(self) -> bytes:
        """Bytes after the header."""
        return (
            _LEAVE.pack(self.client, self.elapsed) + _STATISTICS.pack(*self.statistics) + self.rest
        )


class Block(NamedTuple):
    """One block of a chunk: always 1024 bytes, zero padded at the end of the file."""

    chunk: int
    block: int
    data: bytes

    def body(self) -> bytes:
        """Bytes after the header."""
        return _PAIR.pack(self.chunk, self.block) + self.data


class Ask(NamedTuple):
    """A client wants ``length`` blocks of a chunk from ``block`` on."""

    chunk: int
    block: int = 0
    length: int = BLOCKS_PER_CHUNK
    parity: bool = False

    def body(self) -> bytes:
        """Bytes after the header."""
        return _ASK.pack(*self[:-1])

    @property
    def blocks(self) -> int:
        """The blocks asked for, as a map."""
        return ((1 << self.length) - 1) << self.block


class AskPart(NamedTuple):
    """A client wants the blocks of a map; ``again``: it asked for this chunk before."""

    chunk: int
    again: int
    blocks: int
    parity: bool = False

    def body(self) -> bytes:
        """Bytes after the header."""
        return _PAIR.pack(self.chunk, self.again) + self.blocks.to_bytes(MAP_BYTES, "little")


class Parity(NamedTuple):
    """The exclusive or of some blocks of a chunk; ``left`` more of the chunk come with it."""

    chunk: int
    left: int
    blocks: tuple[int, ...]
    data: bytes

    def body(self) -> bytes:
        """Bytes after the header."""
        count = len(self.blocks)
        head = _PARITY.pack(self.chunk, self.left, count)
        return head + _numbers(count).pack(*self.blocks) + self.data


Packet = Join | Joined | Join2 | Joined2 | Leave | Leave2 | Block | Ask | AskPart | Parity

_KINDS: dict[type[Packet], tuple[int, int]] = {
    Join: (REQUEST, JOIN),
    Joined: (REPLY, JOIN),
    Join2: (REQUEST, JOIN2),
    Joined2: (REPLY, JOIN2),
    Leave: (REQUEST, LEAVE),
    Leave2: (REQUEST, LEAVE2),
    Block: (REQUEST, BLOCK),
    Ask: (REQUEST, ASK),
    AskPart: (REQUEST, ASK_PART),
    Parity: (REPLY, PARITY),
}


_MARKED = Join | Joined | Join2 | Joined2 | Ask | AskPart


def marked(packet: Packet) -> Packet:
    """Return a packet that says, if one of its kind can, that parity is understood."""
    return packet._replace(parity=True) if isinstance(packet, _MARKED) else packet


def encode(packet: Packet, source: bytes) -> bytes:
    """Return the datagram of ``packet`` as sent by the 4-byte address ``source``."""
    body = packet.body()
    mark = b""
    if isinstance(packet, _MARKED) and packet.parity:
        mark = PARITY_MARK
    return _HEADER.pack(*_KINDS[type(packet)], len(body), source) + body + mark


def _numbers(count: int) -> Struct:
    return Struct(f"<{count}H")


def _leave2(body: memoryview) -> Leave2:
    statistics = Statistics(*_STATISTICS.unpack_from(body, _LEAVE.size))
    client, elapsed = _LEAVE.unpack_from(body)
    return Leave2(client, elapsed, statistics, bytes(body[_LEAVE.size + _STATISTICS.size :]))


def _block(body: memoryview) -> Block:
    chunk, block = _PAIR.unpack_from(body)
    _check_range(chunk, block, 1)
    return Block(chunk, block, bytes(body[_PAIR.size : _PAIR.size + BLOCK_SIZE]))


def _ask(body: memoryview) -> Ask:
    packet = Ask(*_ASK.unpack_from(body))
    _check_range(packet.chunk, packet.block, packet.length)
    return packet


def _ask_part(body: memoryview) -> AskPart:
    chunk, again = _PAIR.unpack_from(body)
    _check_range(chunk, 0, 1)
    return AskPart(
        chunk, again, int.from_bytes(body[_PAIR.size : _PAIR.size + MAP_BYTES], "little")
    )


def _parity(body: memoryview) -> Parity:
    chunk, left, count = _PARITY.unpack_from(body)
    start = _PARITY.size + 2 * count
    if not LEAST_COMBINED <= count <= MOST_COMBINED or len(body) != start + BLOCK_SIZE:
        raise MalformedPacket(f"{count} blocks combined in {len(body)} bytes")
    blocks = _numbers(count).unpack_from(body, _PARITY.size)
    _check_range(chunk, blocks[-1], 1)
    if any(block >= after for block, after in pairwise(blocks)):
        raise MalformedPacket("combined blocks that do not ascend")
    return Parity(chunk, left, blocks, bytes(body[start:]))


def _unknown(_body: memoryview) -> Packet:
    raise AssertionError  # no datagram is as long as it would need to be


def _check_range(chunk: int, block: int, count: int) -> None:
    if chunk < 0 or block < 0 or count <= 0 or block + count > BLOCKS_PER_CHUNK:
        message = f"no such blocks: chunk {chunk}, block {block}, count {count}"
        raise MalformedPacket(message)


_DECODERS: dict[tuple[int, int], tuple[int, Callable[[memoryview], Packet]]] = {
    _KINDS[Join]: (_U32.size, lambda body: Join(*_U32.unpack_from(body))),
    _KINDS[Joined]: (_I32.size, lambda body: Joined(*_I32.unpack_from(body))),
    _KINDS[Join2]: (_JOIN2.size, lambda body: Join2(*_JOIN2.unpack_from(body))),
    _KINDS[Joined2]: (_JOIN2.size, lambda body: Joined2(*_JOIN2.unpack_from(body))),
    _KINDS[Leave]: (_LEAVE.size, lambda body: Leave(*_LEAVE.unpack_from(body))),
    _KINDS[Leave2]: (_LEAVE.size + STATISTICS_BYTES, _leave2),
    _KINDS[Block]: (_PAIR.size + BLOCK_SIZE, _block),
    _KINDS[Ask]: (_ASK.size, _ask),
    _KINDS[AskPart]: (_PAIR.size + MAP_BYTES, _ask_part),
    _KINDS[Parity]: (_PARITY.size + 2 * LEAST_COMBINED + BLOCK_SIZE, _parity),
}


def decode(datagram: bytes | bytearray | memoryview) -> tuple[Packet, bytes]:
    """Return the packet in a datagram and the 4-byte address that it says it comes from.

    Raises:
        MalformedPacket: too short, of unknown kind, or with blocks that no chunk has.

    """
    view = memoryview(datagram)
    if len(view) < HEADER_BYTES:
        message = f"Bad message length ({len(view)} != {HEADER_BYTES})"
        raise MalformedPacket(message)
    kind, subtype, length, source = _HEADER.unpack_from(view)
    if len(view) < HEADER_BYTES + length:
        message = f"Bad message length ({len(view)} != {HEADER_BYTES + length})"
        raise MalformedPacket(message)
    needed, decoder = _DECODERS.get((kind, subtype), (1 << 31, _unknown))
    if length < needed:
        message = f"bad packet {kind}/{subtype} of {length} bytes"
        raise MalformedPacket(message)
    packet = decoder(view[HEADER_BYTES : HEADER_BYTES + length])
    rest = view[HEADER_BYTES + length :]
    if rest and isinstance(packet, Parity):
        raise MalformedPacket(f"{len(rest)} bytes behind combined blocks")
    return marked(packet) if rest == PARITY_MARK else packet, source
