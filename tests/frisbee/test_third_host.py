"""What a third host can do to clients that have a manifest, and what it cannot; no network."""

import os

import pytest
from third_host import CHUNKS, IMAGE, ROGUE, World

LIMIT = 5 * World.silence * (CHUNKS + 2)


@pytest.fixture(scope="module")
def sink():
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


def _run(seed, sink, **options):
    world = World(seed, sink, **options).run(LIMIT)
    for host in world.hosts:
        assert host.ended in {"right", "ServerSilent", "NotVouchedFor"}
        for index, chunk in host.disk.taken.items():
            assert chunk == IMAGE[index << 20 : index + 1 << 20]
        assert (len(host.disk.taken) == CHUNKS) == (host.ended == "right")
    return world


def _seeds(runs):
    return (
        [runs]
        if runs < 100
        else [pytest.param(runs, marks=[pytest.mark.full, pytest.mark.timeout(1800)])]
    )


@pytest.mark.parametrize("runs", [4, *_seeds(1000)])
def test_a_disk_is_right_or_its_client_fails_in_time(runs, sink):
    for seed in range(runs):
        _run(seed, sink, is_told_server=seed % 3 > 0)


@pytest.mark.parametrize("runs", [3, *_seeds(300)])
def test_who_cannot_send_in_its_name_stops_nobody_who_was_told_the_server(runs, sink):
    for seed in range(runs):
        world = _run(seed, sink, spoofs=False)
        assert [host.ended for host in world.hosts] == ["right", "right"], seed


@pytest.mark.parametrize("runs", [3, *_seeds(300)])
def test_once_the_third_host_is_silent_all_ends_well(runs, sink):
    for seed in range(runs):
        world = _run(seed, sink, until=World.silence / 2)
        assert [host.ended for host in world.hosts] == ["right", "right"], seed


def test_who_it_was_is_told(sink):
    world = World(1, sink)
    world.habits, world.zeal, world.spoofs = [World.forge_blocks], 0.5, False
    world.run(LIMIT)
    (ignored,) = world.hosts[0].fetching.peers.ignored
    assert ignored.address == ROGUE
    assert ignored.blocks > 0
    assert world.hosts[0].fetching.oddities == [str(ignored)]


def test_blocks_in_the_name_of_the_server_are_told_from_its_own(sink):
    world = World(1, sink, until=0.1)
    world.habits, world.zeal = [World.forge_chunk], 1.0
    world.run(LIMIT)
    fetching = world.hosts[0].fetching
    assert 0 < fetching.rejected < fetching.rejections
    told = fetching.oddities[0]
    assert told.startswith(f"Rejected {fetching.rejected} chunk")
    assert f", {fetching.rejections} times in all: " in told
    assert "in the name of 10.0.0.1" in told
