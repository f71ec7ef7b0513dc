import hashlib
import random
import sys
import zlib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def large_image(tmp_path):
    """Six chunks, each of 200 KB of noise and 1.2 MB of zeroes."""
    chance = random.Random(3)
    path, disk = tmp_path / "large.ndz", hashlib.sha256()
    with path.open("wb") as file:
        for index in range(6):
            data = chance.randbytes(200 * 1024) + bytes(1200 * 1024)
            packed = zlib.compress(data, 1)
            sectors = len(data) // 512
            words = (0x6969696B, len(packed), index, 0, 4096, 1, index * sectors)
            header = b"".join(
                word.to_bytes(4, "little") for word in (*words, (index + 1) * sectors, 0)
            )
            region = (index * sectors).to_bytes(4, "little") + sectors.to_bytes(4, "little")
            file.write((header + region).ljust(4096, b"\0") + packed.ljust((1 << 20) - 4096, b"\0"))
            disk.update(data)
    return path, disk.hexdigest()
