"""Leases that this gateway keeps: made and given back, by whom and when."""

import os
import time

import pytest

from rhubarbe.errors import LeaseError
from rhubarbe.leases.lease import Lease
from rhubarbe.leases.local import LocalDesk
from rhubarbe.leases.times import moment
from rhubarbe.leases.user import User, user_of

ME = user_of(os.getuid())
BOB = User(54321, "bob")
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def now(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.fixture
def no_root(monkeypatch):
    monkeypatch.setattr(User, "is_root", False)


@pytest.fixture
def desk(tmp_path):
    return LocalDesk(tmp_path / "state", ME)


async def test_what_is_booked_is_listed_in_the_order_of_time(desk):
    second = await desk.book(NOW + 100, NOW + 200, ME.name)
    first = await desk.book(NOW, NOW + 100, ME.name)
    assert first == Lease(NOW, NOW + 100, ME.name, f"{ME.uid}.2")
    assert await desk.leases(NOW + 50, NOW + 150) == [first, second]
    assert await desk.leases(NOW + 100, NOW + 150) == [second]
    assert await desk.leases(NOW - 50, NOW) == []


async def test_a_time_that_is_not_free_is_refused_and_who_has_it_is_told(desk):
    times = [(NOW, NOW + 100), (NOW + 200, NOW + 300)]
    for begins, ends in times:
        await desk.book(begins, ends, ME.name)
    has = f"that time is not free: {ME.name} has it from {moment(NOW)} until {moment(NOW + 100)}"
    for ends, words in ((NOW + 150, has), (NOW + 201, f"{has}, and 1 more")):
        with pytest.raises(LeaseError) as caught:
            await desk.book(NOW + 99, ends, ME.name)
        assert str(caught.value) == f"{words}; nothing was booked"
    await desk.book(NOW + 100, NOW + 200, ME.name)
    assert len(await desk.leases(NOW, NOW + 300)) == 3


async def test_a_lease_begins_now_or_later(desk):
    with pytest.raises(LeaseError, match=r"\Aa lease cannot begin in the past: nothing was booked"):
        await desk.book(NOW - 61, NOW + 100, ME.name)
    assert (await desk.book(NOW - 60, NOW + 100, ME.name)).begins == NOW - 60


@pytest.mark.usefixtures("no_root")
async def test_only_root_makes_leases_for_others(desk):
    with pytest.raises(LeaseError, match="only root can make a lease for another, such as bob"):
        await desk.book(NOW, NOW + 100, "bob")
    assert await desk.leases(NOW, NOW + 100) == []


async def test_root_makes_them_for_whoever_is_there(tmp_path):
    desk = LocalDesk(tmp_path / "state", User(0, "root"))
    with pytest.raises(LeaseError, match="nobody-at-all: this gateway has no such user"):
        await desk.book(NOW, NOW + 100, "nobody-at-all")
    desk = LocalDesk(tmp_path / "state", User(0, "another name of root's"))
    lease = await desk.book(NOW, NOW + 100, ME.name)
    assert lease.owner == ME.name
    assert await desk.leases(NOW, NOW + 1) == [lease]


async def test_one_that_is_to_come_is_deleted(desk):
    kept = await desk.book(NOW + 10, NOW + 20, ME.name)
    lease = await desk.book(NOW + 100, NOW + 200, ME.name)
    assert await desk.give_back(lease.name) == f"lease {lease.name} is deleted"
    assert await desk.leases(NOW, NOW + 300) == [kept]


@pytest.mark.parametrize("begins", [NOW - 50, NOW])
async def test_one_that_runs_ends_now(desk, monkeypatch, begins):
    lease = await desk.book(begins, NOW + 200, ME.name)
    monkeypatch.setattr(time, "time", lambda: NOW + 1)
    assert await desk.give_back(lease.name) == f"lease {lease.name} ends now"
    (left,) = await desk.leases(NOW, NOW + 300)
    assert (left.begins, left.ends) == (begins, NOW + 1)


async def test_one_that_begins_this_very_moment_runs(desk):
    lease = await desk.book(NOW, NOW + 200, ME.name)
    assert await desk.give_back(lease.name) == f"lease {lease.name} ends now"


@pytest.mark.parametrize("later", [100, 101])
async def test_one_that_is_over_is_kept_as_it_was(desk, monkeypatch, later):
    lease = await desk.book(NOW, NOW + 100, ME.name)
    monkeypatch.setattr(time, "time", lambda: NOW + later)
    with pytest.raises(LeaseError) as caught:
        await desk.give_back(lease.name)
    assert str(caught.value) == (
        f"{lease.name}: over since {moment(NOW + 100)}, and kept as it was"
    )
    assert await desk.leases(NOW, NOW + 1) == [lease]


async def test_one_that_is_not_there(desk):
    await desk.book(NOW, NOW + 100, ME.name)
    with pytest.raises(LeaseError, match=r"\A7\.7: no such lease; rhubarbe-leases lists them\Z"):
        await desk.give_back("7.7")


@pytest.mark.usefixtures("no_root")
async def test_only_its_owner_gives_a_lease_back(desk, tmp_path):
    lease = await desk.book(NOW + 10, NOW + 100, ME.name)
    words = f"{lease.name}: the lease of {ME.name}, and not yours to delete"
    with pytest.raises(LeaseError) as caught:
        await LocalDesk(tmp_path / "state", BOB).give_back(lease.name)
    assert str(caught.value) == words
    assert await desk.leases(NOW, NOW + 100) == [lease]


async def test_root_gives_back_anybody_s(desk, tmp_path):
    lease = await desk.book(NOW + 10, NOW + 100, ME.name)
    await LocalDesk(tmp_path / "state", User(0, "another name of root's")).give_back(lease.name)
    assert await desk.leases(NOW, NOW + 100) == []


async def test_what_cannot_be_read_of_others_is_told(tmp_path, monkeypatch):
    from rhubarbe.leases.store import Store

    told = []
    monkeypatch.setattr(Store, "read", lambda store: store._tell("left out") or [])
    await LocalDesk(tmp_path, ME, told.append).leases(NOW, NOW + 1)
    assert told == ["left out"]
    await LocalDesk(tmp_path, ME).leases(NOW, NOW + 1)
