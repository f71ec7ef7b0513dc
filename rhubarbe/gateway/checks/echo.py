"""One packet to a multicast group, by one of our addresses, and back: as an image server sends."""

import asyncio
import os
import socket

WORD_BYTES = 16


async def echo(group: str, address: str, within_s: float) -> bool:
    """Tell whether we hear what we send to a group by the interface of our address.

    Raises OSError for what this machine cannot do.
    """
    word = os.urandom(WORD_BYTES)
    loop = asyncio.get_running_loop()
    with _socket() as listener, _socket() as sender:
        interface = socket.inet_aton(address)
        listener.bind((group, 0))
        membership = socket.inet_aton(group) + interface
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sender.bind((address, 0))
        await loop.sock_sendto(sender, word, (group, listener.getsockname()[1]))
        try:
            async with asyncio.timeout(within_s):
                while await loop.sock_recv(listener, WORD_BYTES + 1) != word:
                    pass
        except TimeoutError:
            return False
    return True


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
