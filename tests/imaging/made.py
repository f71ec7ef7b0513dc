"""Chunks made byte by byte, from what is known of the format and not by our own writer."""

import struct
import zlib

SIZES = {1: 24, 2: 36, 3: 36, 4: 344}


def chunk(  # one argument a field
    index=0,
    regions=((0, 1),),
    covered=None,
    *,
    version=3,
    total=0,
    relocations=(),
    security=b"",
    fill=None,
):
    """One chunk of 1,048,576 bytes; its sectors are full of one byte, `fill` or the index."""
    content = bytes([index + 1 if fill is None else fill]) * 512 * sum(size for _, size in regions)
    stream = zlib.compress(content)
    first, last = covered or (regions[0][0], regions[-1][0] + regions[-1][1])
    magic = 0x69696969 + version - 1
    head = struct.pack("<IIiiii", magic, len(stream), index, total, 4096, len(regions))
    if version > 1:
        head += struct.pack("<IIi", first, last, len(relocations))
    if version == 4:
        head += security.ljust(308, b"\0")
    assert len(head) == SIZES[version]
    head += b"".join(struct.pack("<II", *region) for region in regions)
    head += b"".join(struct.pack("<IIII", *each) for each in relocations)
    return (head.ljust(4096, b"\0") + stream).ljust(1 << 20, b"\0")


def security(*, cipher=0, checksum_type=0, iv=b"", checksum=b"", uuid=bytes(16)):
    """What a header of version 4 has more than others."""
    return (
        struct.pack("<HH", cipher, checksum_type)
        + iv.ljust(32, b"\0")
        + checksum.ljust(256, b"\0")
        + uuid
    )
