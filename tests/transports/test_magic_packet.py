"""Packets that wake machines: what is in them, where they go, and passwords of SecureOn."""

import socket

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.transports.magic_packet import MAC, wake

ADDRESS = bytes.fromhex("0200000000ab")
PACKET = b"\xff" * 6 + ADDRESS * 16


@pytest.fixture
def listener():
    with socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as socket_:
        socket_.bind(("", 0))
        yield socket_


@pytest.mark.parametrize("mac", ["02:00:00:00:00:AB", "0200000000ab", "02-00-00-00-00-ab"])
@pytest.mark.parametrize(
    ("password", "end"),
    [
        ("", b""),
        ("0A:0b:0c:0d:0e:0f", b"\x0a\x0b\x0c\x0d\x0e\x0f"),
        ("192.168.1.2", b"\xc0\xa8\x01\x02"),
    ],
)
async def test_what_is_sent(listener, mac, password, end):
    assert MAC.read(mac) == "0200000000ab"
    # Of the loopback: so SO_BROADCAST is needed.
    await wake(mac, "127.255.255.255", listener.getsockname()[1], password)
    assert listener.recv(999) == PACKET + end
    assert listener.recv(999) == PACKET + end


@pytest.mark.parametrize("password", ["s3cr3t", "1.2.3", "0a0b0c", "0a:0b:0c:0d:0e:0g"])
async def test_a_password_that_is_none_is_told_without_it(password):
    with pytest.raises(GatewayError, match="expected a password for Wake-on-LAN") as caught:
        await wake("0200000000ab", "127.255.255.255", 9, password)
    assert password not in str(caught.value)
