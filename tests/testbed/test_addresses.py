"""Networks: each testbed has its own, given back at the end."""

import errno
import socket

import pytest

from rhubarbe.testbed.addresses import Network


@pytest.fixture
def networks():
    claimed = [Network.claim() for _ in range(3)]
    yield claimed
    for network in claimed:
        network.close()


def test_each_testbed_has_a_network_of_its_own(networks):
    assert len({network.number for network in networks}) == 3


def test_a_claim_is_a_listening_socket_until_it_is_given_back():
    network = Network.claim()
    address = (f"127.{network.number}.255.254", network.ports.cmc)
    with socket.socket() as other:
        with pytest.raises(OSError, match="in use") as taken:
            other.bind(address)
        assert taken.value.errno == errno.EADDRINUSE
    network.close()
    with socket.socket() as other:
        other.bind(address)


def test_a_thousand_nodes_have_addresses_that_differ(networks):
    network = networks[0]
    addresses = {
        address
        for node in range(1, 1001)
        for address in (network.card(node), network.control(node), network.data(node))
    }
    assert len(addresses) == 3000
    assert all(address.startswith(f"127.{network.number}.") for address in addresses)
    assert len({network.mac(node, kind) for node in range(1, 1001) for kind in range(3)}) == 3000
