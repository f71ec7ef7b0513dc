"""Many clients on a virtual network; the same on a larger scale is benchmarks/simulate.py."""

import importlib.util
import sys
from pathlib import Path
from statistics import fmean

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "simulate.py"


def _load():
    spec = importlib.util.spec_from_file_location("frisbee_simulate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


simulate = _load()


def _run(**changes):
    setting = simulate.Setting(**({"name": "test", "chunks": 12} | changes))
    done = simulate.Simulation(setting).run(limit=600)
    assert done.unfinished == []
    for node in done.nodes.values():
        assert node.receiver.finished
        assert node.stored >= setting.chunks * 1024  # more, where a begun chunk lost its buffer
    return done


def _last(done):
    return max(node.ended for node in done.nodes.values())


@pytest.mark.parametrize("clients", [1, 12, 64])
def test_without_loss_each_block_is_sent_exactly_once(clients):
    done = _run(clients=clients)
    assert done.sender.counters.blocks_sent == done.sender.blocks
    assert _last(done) < 1.25 * done.setting.ideal


def test_loss_in_bursts_is_repaired_too():
    done = _run(clients=32, loss=0.01, burst=20, chunks=20)
    assert done.repeats <= 1.6


def test_heavy_loss_ends_as_well():
    assert _run(clients=4, loss=0.3, chunks=4).repeats < 4


def test_an_image_larger_than_the_buffers():
    done = _run(clients=16, loss=0.01, buffers=4, chunks=24)
    assert done.repeats < 2.5


def test_a_late_joiner_costs_at_most_what_it_missed():
    half = simulate.Setting(chunks=12).ideal / 2
    done = _run(clients=8, late={3: half})
    assert 1.3 < done.repeats <= 1.55


def test_clients_that_vanish_leave_the_others_unharmed():
    half = simulate.Setting(chunks=12).ideal / 2
    done = _run(clients=8, loss=0.01, vanish={0: half, 5: half / 2})
    assert len(done.nodes) == 6


def test_slow_disks_hold_nobody_for_ever():
    done = _run(clients=6, disk=20.0, buffers=4, chunks=24)
    assert _last(done) < 6 * 24 / 20


def test_bursts_fit_into_a_small_switch():
    done = _run(clients=8, switch_bits_per_second=600_000_000, switch_buffer_blocks=64)
    assert done.dropped == 0
    assert done.repeats == 1


def test_a_switch_that_drops_is_repaired():
    done = _run(clients=8, switch_bits_per_second=450_000_000, switch_buffer_blocks=64)
    assert done.dropped > 0


@pytest.mark.parametrize("clients", [40, 100, 150])
def test_clients_on_one_busy_machine_do_not_drown_in_each_other_s_requests(clients):
    done = _run(clients=clients, chunks=4, bits_per_second=3_000_000, hearing=5e-5)
    assert _last(done) < 4 * done.setting.ideal


@pytest.mark.parametrize("megabits", [100, 400])
@pytest.mark.parametrize("seed", [1, 2])
def test_clients_that_are_held_up_ask_for_nothing_that_waits_for_them(megabits, seed):
    busy = simulate.Busy(runs=0.05, waits=0.2)
    done = _run(
        clients=6, loss=0.01, chunks=40, bits_per_second=megabits * 10**6, busy=busy, seed=seed
    )
    assert done.repeats <= 1.04 * simulate.least(6, 0.01)


@pytest.mark.parametrize(("loss", "most"), [(0.01, 1.04), (0.05, 1.12)])
def test_64_clients_are_repaired_by_parity(loss, most):
    done = _run(clients=64, loss=loss, chunks=30)
    plain = _run(clients=64, loss=loss, chunks=30, parity=False)
    assert done.repeats <= most < 0.8 * simulate.least(64, loss)
    assert _last(done) <= _last(plain)
    assert done.requests <= 1.05 * plain.requests


@pytest.mark.parametrize("clients", [2, 6, 16])
@pytest.mark.parametrize("buffers", [4, 64])
def test_parity_makes_nothing_worse_for_few_clients(clients, buffers):
    setting = {"clients": clients, "buffers": buffers, "loss": 0.02, "chunks": 20}
    runs = [
        [_run(**setting, seed=seed, parity=parity) for seed in range(1, 9)]
        for parity in (True, False)
    ]
    combined, plain = (
        [fmean(values) for values in zip(*map(_figures, each), strict=True)] for each in runs
    )
    assert combined[0] < plain[0]
    assert combined[1] < plain[1] + 0.06  # seconds: the last repairs are gathered, too
    assert combined[2] < 1.1 * plain[2]


def _figures(done):
    return done.repeats, _last(done), done.requests


def test_one_client_that_does_not_know_parity_has_all_get_plain_blocks():
    mixed = _run(clients=16, loss=0.02, strangers=1)
    plain = _run(clients=16, loss=0.02, parity=False)
    assert mixed.sender.counters.combinations_sent == 0
    assert vars(mixed.sender.counters) == vars(plain.sender.counters)
    assert (_last(mixed), mixed.requests) == (_last(plain), plain.requests)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_plain_blocks_are_sent_from_when_a_stranger_joins_until_it_leaves(seed):
    half = simulate.Setting(chunks=12).ideal / 2
    done = _run(clients=16, loss=0.02, strangers=1, late={0: half}, seed=seed)
    joins, leaves = (at + simulate.LATENCY for at in (half, done.nodes[0].ended))
    assert min(done.combined_at) < joins
    assert not [at for at in done.combined_at if joins < at < leaves]


@pytest.mark.parametrize("loss", [0.01, 0.05])
def test_64_clients_have_no_more_sent_again_than_must_be(loss):
    done = _run(clients=64, loss=loss, chunks=30, parity=False)
    assert _last(done) < 1.5 * simulate.least(64, loss) * done.setting.ideal
    assert done.repeats <= 1.03 * simulate.least(64, loss)


def test_nothing_is_sent_after_the_last_client_has_left():
    done = _run(clients=3)
    assert not done.sender.busy
    assert done.sender.roster.active == 0
    assert done.sender.roster.leaves == 3


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_thousand_clients_with_one_percent_loss():
    assert _run(clients=1000, loss=0.01, chunks=10).repeats <= 2.5
