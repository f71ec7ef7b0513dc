"""What does not deflate, as stored blocks: hardly larger, and read back at once.

Source: RFC 1951, section 3.2.4.
"""

import struct

_BLOCK_MAX = 0xFFFF
_HEAD = struct.Struct("<BHH")
_WORTH = 0.98


def is_better_stored(deflated: int, size: int) -> bool:
    """Whether so few bytes are won that inflating, which takes ten times as long, is not worth it.

    Also where there are more of them than before.
    """
    return deflated > _WORTH * size


def stored(data: memoryview) -> bytes:
    """Return the data in stored blocks, none of which is the last; they begin and end on a byte.

    Each says its length, and that again with all its bits turned.
    """
    parts: list[bytes | memoryview] = []
    for at in range(0, len(data), _BLOCK_MAX):
        block = data[at : at + _BLOCK_MAX]
        parts += (_HEAD.pack(0, len(block), len(block) ^ _BLOCK_MAX), block)
    return b"".join(parts)
