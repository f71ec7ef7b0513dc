"""A small UFS1 or UFS2 made byte by byte, from what FreeBSD's manual page fs(5) says of it."""

import struct

FRAGMENT, BLOCK, GROUP, SIZE = 1024, 8192, 2048, 5000
"""Bytes of a fragment and of a block; fragments of a group, and of all: the last one is short."""

PARTS = (16, 24, 32, 48)
"""Superblock, map, inodes and end of the metadata of each group, in fragments from its start."""

INODES_AT, MAP_AT = 168, 192
"""Bytes of a group's maps, of inodes and of fragments, in the block that describes it."""

INODES = 64
"""Of a group; in UFS2 each has 256 bytes, so that they fill two blocks."""

GROUPS = -(-SIZE // GROUP)


def made_ufs(free, *, version=2, order="<", shift=0, at=None, change=None, inodes=(3, INODES)):
    """Return a whole filesystem in which these fragments are free: ranges of each group's own.

    `shift` is how much farther the metadata of each group begins, up to that of the fourth one.
    `inodes` is how many inodes of a group are in use, and how many initialized.
    `change` is a byte of the superblock, a size and the integer of that size to be there.
    """
    at = at if at is not None else {1: 8192, 2: 65536}[version]
    data = bytearray(SIZE * FRAGMENT)

    def put(where, form, *values):
        struct.pack_into(order + form, data, where, *values)

    sums = [_put_group(put, data, group, free[group], shift) for group in range(GROUPS)]
    for group in range(GROUPS):
        _put_inodes(put, (group * GROUP + shift * (group % 4) + PARTS[1]) * FRAGMENT, *inodes)
    blocks, fragments = map(sum, zip(*sums, strict=True))
    put(at + 8, "4I", *PARTS)
    put(at + 24, "Ii", shift, ~3 if shift else -1)
    put(at + 44, "4I", GROUPS, BLOCK, FRAGMENT, BLOCK // FRAGMENT)
    put(at + 144, "2I", 7, 9)  # the identity
    put(at + 156, "2I", FRAGMENT, BLOCK)  # of the summary, and of a group's block
    put(at + 184, "II", INODES, GROUP)
    put(at + 209, "B", 1)  # clean
    if version == 1:
        put(at + 36, "I", SIZE)
        put(at + 152, "I", PARTS[3])
        put(at + 196, "I4xI", blocks, fragments)
    else:
        put(at + 1000, "Q", at)
        put(at + 1016, "Q8xQ", blocks, fragments)
        put(at + 1080, "Q8xQ", SIZE, PARTS[3])
    put(at + 1372, "I", {1: 0x00011954, 2: 0x19540119}[version])
    if change:
        offset, size, value = change
        put(at + offset, {1: "B", 4: "I", 8: "Q"}[size], value)
    return data


def _put_group(put, data, group, free, shift):
    """Write a group's description; return its numbers of free blocks and of other fragments."""
    start = group * GROUP
    count = min(GROUP, SIZE - start)
    bits = sum((1 << high) - (1 << low) for low, high in free)
    bitmap = bits.to_bytes(-(-count // 8), "little")
    blocks = bitmap.count(0xFF)
    fragments = bits.bit_count() - 8 * blocks
    at = (start + shift * (group % 4) + PARTS[1]) * FRAGMENT
    put(at + 4, "I4xI4xI", 0x00090255, group, count)
    put(at + 28, "I4xI", blocks, fragments)
    put(at + 96, "I", MAP_AT)
    data[at + MAP_AT : at + MAP_AT + len(bitmap)] = bitmap
    return blocks, fragments


def _put_inodes(put, at, used, initialized):
    put(at + 92, "I", INODES_AT)
    put(at + 116, "II", INODES, initialized)
    bits = ((1 << used) - 1).to_bytes(INODES // 8, "little")
    put(at + INODES_AT, f"{len(bits)}s", bits)
