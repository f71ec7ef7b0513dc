"""Loads that send at the same time share the gateway's bandwidth, whoever's they are."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.gateway.engines import shares
from rhubarbe.gateway.engines.shares import SEATS, fair_share, sending

WAITS = """
import asyncio, sys
from pathlib import Path
from rhubarbe.gateway.engines.shares import sending

async def main():
    async with sending(Path(sys.argv[1]), int(sys.argv[2]), 500) as share:
        with share.receiver():
            print(share.mibps, flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(shares, "LOOK_AGAIN_S", 0.02)


@pytest.mark.parametrize(
    ("wanted", "others", "share"),
    [
        (500, [], 500),
        (800, [], 800),
        (500, [500], 250),
        (500, [100], 400),
        (100, [500], 100),
        (500, [500, 500, 500], 125),
        (500, [10, 500], 245),
        (300, [10, 20], 300),
    ],
)
def test_who_wants_less_than_an_equal_part_leaves_the_rest_to_the_others(wanted, others, share):
    assert fair_share(wanted, others, 500) == pytest.approx(share)


@given(st.lists(st.integers(1, 2000), min_size=2, max_size=SEATS))
def test_all_together_have_what_there_is_and_nobody_more_than_it_wants(demands):
    got = [
        fair_share(wanted, [*demands[:place], *demands[place + 1 :]], 500)
        for place, wanted in enumerate(demands)
    ]
    assert all(share <= wanted for share, wanted in zip(got, demands, strict=True))
    assert sum(got) == pytest.approx(min(500, sum(demands)))
    least = max(got)
    for share, wanted in zip(got, demands, strict=True):
        assert share == pytest.approx(min(wanted, least))


async def until(share, mibps):
    async with asyncio.timeout(20):
        while share.mibps != mibps:
            await share.look()
            await asyncio.sleep(0.01)


async def test_who_comes_takes_its_part_and_gives_it_back(tmp_path):
    heard = asyncio.Queue()
    async with sending(tmp_path, 500, 500) as first, asyncio.TaskGroup() as group:
        assert (first.mibps, first.senders) == (500, 1)
        following = group.create_task(first.follow(heard.put_nowait))
        async with asyncio.timeout(20):
            async with sending(tmp_path, 500, 500) as second:
                with first.receiver():
                    await second.look()
                    assert (second.mibps, second.senders) == (250, 2)
                await second.look()
                assert (second.mibps, second.senders) == (500, 1)
                with second.receiver():
                    assert await heard.get() == 250
            assert await heard.get() == 500
        following.cancel()


async def test_what_others_have_elsewhere_is_not_ours(tmp_path):
    async with sending(tmp_path / "a", 500, 500) as one, sending(tmp_path / "b", 500, 500) as other:
        with one.receiver():
            await other.look()
            assert other.mibps == 500


@pytest.mark.parametrize("ends_by", [signal.SIGKILL, signal.SIGTERM])
async def test_a_load_that_dies_leaves_its_part_to_the_others(tmp_path, ends_by):
    command = [sys.executable, "-c", WAITS, str(tmp_path), "100"]
    with start(command) as other:
        try:
            assert await asyncio.to_thread(other.stdout.readline) == "100\n"
            async with sending(tmp_path, 500, 500) as share:
                assert (share.mibps, share.senders) == (400, 2)
                other.send_signal(ends_by)
                await asyncio.to_thread(other.wait, 20)
                await until(share, 500)
        finally:
            other.kill()


async def test_one_that_is_stopped_counts_as_one_that_wants_all(tmp_path):
    command = [sys.executable, "-c", WAITS, str(tmp_path), "100"]
    with start(command) as other:
        try:
            assert await asyncio.to_thread(other.stdout.readline) == "100\n"
            os.kill(other.pid, signal.SIGSTOP)
            async with sending(tmp_path, 500, 500) as share:
                assert share.mibps == 250
        finally:
            other.kill()


@pytest.mark.parametrize("words", ["", "0", "-5", "nan", "9" * 900, "1e9", "٣", "\x1b[2J"])
async def test_words_of_another_count_for_no_more_than_all(tmp_path, words, monkeypatch):
    async with sending(tmp_path, 500, 500) as first, sending(tmp_path, 500, 500) as second:
        monkeypatch.setattr(first, "_wanted", words)
        with first.receiver():
            await second.look()
        assert second.mibps == (500 if words == "0" else 250)


async def test_where_all_seats_are_taken_a_load_has_its_part_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(shares, "SEATS", 1)
    async with sending(tmp_path, 500, 500) as one, sending(tmp_path, 500, 500) as other:
        with one.receiver():
            await other.look()
            assert other.mibps == 250
