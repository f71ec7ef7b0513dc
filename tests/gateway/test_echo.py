"""A packet to a group comes back by the interface that it is sent by."""

import pytest

from rhubarbe.gateway.checks.echo import echo


async def test_out_and_back():
    assert await echo("234.5.6.7", "127.0.0.1", 3.0)


async def test_by_an_address_that_is_not_ours_nothing_can_be_sent():
    with pytest.raises(OSError, match=r"No such device|Cannot assign"):
        await echo("234.5.6.7", "192.0.2.1", 3.0)
