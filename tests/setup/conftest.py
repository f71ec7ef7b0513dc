"""A machine to set up, in memory: each of its files is written to the disk at once."""

import shutil
import tempfile
from pathlib import Path

import pytest
from gateway_root import Root

MEMORY = Path("/dev/shm")


@pytest.fixture
def root(capsys, monkeypatch):
    directory = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    monkeypatch.chdir(directory)
    yield Root(directory, capsys)
    shutil.rmtree(directory)
