"""A zone whose clocks are put forward and back, and a store of leases that is ours."""

import os
import time

import pytest

from rhubarbe.leases.store import Store
from rhubarbe.leases.user import User


@pytest.fixture
def in_paris(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "state")


@pytest.fixture
def ada():
    """The user that runs the tests, by another name than root."""
    return User(os.getuid(), "ada")
