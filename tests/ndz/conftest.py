"""Golden images: the small ones are in tests/data/ndz, all of them where RHUBARBE_GOLDEN says."""

import json
import lzma
import os
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data" / "ndz"


@pytest.fixture(scope="session")
def golden_results():
    return json.loads((DATA / "results.json").read_text())


@pytest.fixture(scope="session")
def small_image():
    def read(name):
        return lzma.decompress((DATA / f"{name}.ndz.xz").read_bytes())

    return read


@pytest.fixture(scope="session")
def golden_headers(golden_results):
    """Header areas of all the golden images: name -> list of 4096 bytes."""
    blob = lzma.decompress((DATA / "headers.bin.xz").read_bytes())
    headers, start = {}, 0
    for name in sorted(n for n, facts in golden_results.items() if facts["chunks"]):
        count = golden_results[name]["chunks"]
        headers[name] = [blob[start + i * 4096 : start + (i + 1) * 4096] for i in range(count)]
        start += count * 4096
    assert start == len(blob)
    return headers


@pytest.fixture(scope="session")
def golden_directory():
    where = os.environ.get("RHUBARBE_GOLDEN")
    if not where:
        pytest.skip("RHUBARBE_GOLDEN does not name the directory of all the golden images")
    return Path(where)
