"""Images of version 4 with a UUID, signed with a key of the tests' own."""

import hashlib
import random
import zlib

from rhubarbe.ndz.header import ChunkHeader, Region, Security

# two primes that give a modulus of 512 bits
P = 2**255 - 19
Q = 2**256 - 189
N, E = P * Q, 17
D = pow(E, -1, (P - 1) * (Q - 1))
KEY = f"{N:x}\n{E:x}\n"
UUID = "00112233445566778899aabbccddeeff"


def signed_image(chunks, uuid=UUID):
    """Chunks of 64 KB of noise each, one after the other on the disk, whose content comes too."""
    chance = random.Random(6)
    image, disk = b"", b""
    for index in range(chunks):
        data = chance.randbytes(64 << 10)
        packed = zlib.compress(data, 1)
        image += _signed(index, len(data) // 512, packed, bytes.fromhex(uuid))
        disk += data
    return image, disk


def _signed(index, sectors, packed, image_id):
    header = ChunkHeader(
        version=4,
        size=len(packed),
        index=index,
        first=index * sectors,
        last=(index + 1) * sectors,
        regions=(Region(index * sectors, sectors),),
        security=Security(checksum_type=0x8001, image_id=image_id),
    )
    area = bytearray(header.pack())
    content = b"\0\1" + b"\xff" * 8 + b"\0" + hashlib.sha1(area + packed).digest() + b"?" * 33
    area[72:136] = pow(int.from_bytes(content, "big"), D, N).to_bytes(64, "big")
    return (bytes(area) + packed).ljust(1 << 20, b"\0")
