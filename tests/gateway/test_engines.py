"""How long nodes may take for an image, and be silent, with whatever engine."""

from dataclasses import replace

import pytest

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config import settings as sections
from rhubarbe.config.settings import NodesSettings
from rhubarbe.gateway.engines import Consignment
from rhubarbe.gateway.engines.shares import sending

SETTINGS = Settings(nodes=NodesSettings(silence_timeout=10.0, image_patience=4.0))


def consignment(*, verifies):
    """Return one of 100 MiB at 80 Mibit/s, which takes ten seconds on the wire."""
    return Consignment(
        image=None,
        size=100 << 20,
        nodes=(),
        address="",
        bandwidth_mibps=80,
        verifies=verifies,
        settings=SETTINGS,
        bus=Bus(),
        guardian=None,
    )


@pytest.mark.parametrize("verifies", [False, True])
def test_a_node_may_take_some_times_what_the_wire_does(verifies):
    assert consignment(verifies=verifies).limit == 10 + 4 * 10


async def test_a_share_of_the_bandwidth_is_the_pace_and_silence_follows(tmp_path):
    settings = Settings(
        testbed=sections.TestbedSettings(state_dir=tmp_path),
        networking=sections.NetworkingSettings(bandwidth=80),
        nodes=SETTINGS.nodes,
    )
    ours = replace(consignment(verifies=False), settings=settings)
    async with sending(tmp_path, 80, 80) as other:
        with other.receiver():
            async with ours.share() as share:
                assert (share.mibps, ours.paces.now()) == (40, 0.5)
                assert ours.silence == 10 + 10 * 0.2
        assert ours.paces.now() == 1


def test_a_node_tells_of_chunks_but_not_of_what_it_verifies():
    assert consignment(verifies=False).silence == 10 + 10 * 0.1
    verifying = consignment(verifies=True)
    assert verifying.silence == verifying.limit
