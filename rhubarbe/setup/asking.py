"""Whether somebody else serves DHCP on a network: asked there, as a machine that boots does.

By frames of our own, since the port of DHCP clients may be taken; nobody is given an address.
"""

import os
import socket
import struct
import time

from rhubarbe.setup.network import hardware_address

LISTENED_S = 3.0
SENT_AGAIN_AFTER_S = 1.0
ALL = b"\xff" * 6
_IP, _UDP = 0x0800, 17
_CLIENT, _SERVER = 68, 67
_MAGIC = b"\x63\x82\x53\x63"
_REPLY = 2
_MESSAGE_TYPE, _SERVER_ID, _END = 53, 54, 255
_DISCOVER, _OFFER = 1, 2
_BROADCAST = 0x8000
_LONGEST = 2048


def who_serves_dhcp(interface: str) -> str:
    """Return the address of a server that offers an address there; nothing where none does.

    Raises OSError: only root may ask.
    """
    card = hardware_address(interface)
    if card is None:
        return ""
    number = os.urandom(4)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_IP)) as wire:
        wire.bind((interface, 0))
        question = _frame(card, number)
        deadline = time.monotonic() + LISTENED_S
        again = 0.0
        while (now := time.monotonic()) < deadline:
            if now >= again:
                wire.send(question)
                again = now + SENT_AGAIN_AFTER_S
            wire.settimeout(max(min(again, deadline) - time.monotonic(), 0.01))
            try:
                heard = wire.recv(_LONGEST)
            except TimeoutError:
                continue
            if server := offered_by(heard, number):
                return server
    return ""


def _frame(card: bytes, number: bytes) -> bytes:
    """Return a DISCOVER in UDP, IP and Ethernet."""
    message = (
        struct.pack("!4B4s2H16x16s192x", 1, 1, 6, 0, number, 0, _BROADCAST, card)
        + _MAGIC
        + bytes([_MESSAGE_TYPE, 1, _DISCOVER, _END])
    )
    message = message.ljust(300, b"\0")
    datagram = struct.pack("!4H", _CLIENT, _SERVER, 8 + len(message), 0) + message
    head = struct.pack("!2B3H2BH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, _UDP, 0, b"", ALL[:4])
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return ALL + card + struct.pack("!H", _IP) + head + datagram


def _checksum(head: bytes) -> int:
    total: int = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def offered_by(frame: bytes, number: bytes) -> str:
    """Return the server of an offer that answers us; nothing for whatever else a frame is."""
    packet = frame[14:]
    if len(packet) < 20 or packet[9] != _UDP:  # noqa: PLR2004
        return ""
    datagram = packet[4 * (packet[0] & 15) :]
    message = datagram[8:]
    if len(message) < 241 or message[0] != _REPLY or message[4:8] != number:  # noqa: PLR2004
        return ""
    if message[236:240] != _MAGIC or struct.unpack_from("!H", datagram)[0] != _SERVER:
        return ""
    options = _options(message[240:])
    if options.get(_MESSAGE_TYPE) != bytes([_OFFER]):
        return ""
    return socket.inet_ntoa(options.get(_SERVER_ID, packet[12:16])[:4].ljust(4, b"\0"))


def _options(field: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(field) > 1 and field[0] != _END:
        if field[0] == 0:
            field = field[1:]
            continue
        found.setdefault(field[0], field[2 : 2 + field[1]])
        field = field[2 + field[1] :]
    return found
