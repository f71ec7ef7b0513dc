from datetime import UTC, datetime, timedelta

import pytest


class HandClock:
    """A clock that moves only when told to."""

    def __init__(self):
        self.now = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return HandClock()
