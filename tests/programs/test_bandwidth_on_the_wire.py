"""Two loads at once, as the network sees them: each has half, and what remains has all again.

What is compared are bytes that two servers send side by side, and the paces of one server before
and after: never a pace with a clock alone, which a busy machine could not keep.
"""

import os
import re
import socket
import subprocess
import threading
import time

import pytest
from emulated import wait_until
from test_bandwidth import says, serves, told

pytestmark = [pytest.mark.testbed, pytest.mark.alone, pytest.mark.timeout(180)]

ALL_PACKETS = 3
UDP, HEADERS = 17, 28
MIB = 1 << 20
MIBPS = 12


class Wire:
    """Hears all that passes on the loopback interface: when, and how many bytes to which port."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PACKETS))
        self._socket.bind(("lo", ALL_PACKETS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * MIB)
        self._heard = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                packet, (_, _, kind, *_) = self._socket.recvfrom(65536)
            except OSError:
                return
            is_sent = kind == socket.PACKET_OUTGOING  # loopback shows each packet twice
            if is_sent and len(packet) > HEADERS and packet[0] == 0x45 and packet[9] == UDP:
                port = int.from_bytes(packet[22:24], "big")
                self._heard.append((time.monotonic(), port, len(packet)))

    def close(self):
        self._socket.close()

    def sent(self, port, since=0.0):
        """Return how many bytes were sent to a port since a moment."""
        return sum(size for at, to, size in list(self._heard) if to == port and at >= since)

    def pace(self, port, size):
        """Wait until so many bytes more were sent to a port; return how many a second that was."""
        start = time.monotonic()
        wait_until(lambda: self.sent(port, start) >= size)
        times = [at for at, to, _ in list(self._heard) if to == port and at >= start]
        return self.sent(port, start) / (times[-1] - times[0])


@pytest.fixture
def wire():
    if os.getuid():
        pytest.skip("only root hears the wire")
    heard = Wire()
    yield heard
    heard.close()


def test_the_wire_has_no_more_than_the_gateway_may_send(make_testbed, wire):
    testbed = make_testbed("--nodes", "2", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(re.sub(r"(?m)^bandwidth = .*$", f"bandwidth = {MIBPS}", conf.read_text()))

    def load(node):
        return testbed.start(
            "rhubarbe-load", "--json", "-t", "150", node, stderr=subprocess.DEVNULL
        )

    with load("1") as first:
        one = told(first, serves)["port"]
        alone = wire.pace(one, 2 * MIB)
        with load("2") as second:
            other = told(second, serves)["port"]
            told(first, says(f"Sending at {MIBPS // 2 << 20} bits per second"))
            wait_until(lambda: wire.sent(other))
            since = time.monotonic()
            shared = wire.pace(one, 2 * MIB)
            both = [wire.sent(port, since) for port in (one, other)]
            second.terminate()
            second.communicate(timeout=60)
        told(first, says(f"Sending at {MIBPS << 20} bits per second"))
        again = wire.pace(one, 2 * MIB)
        first.terminate()
        first.communicate(timeout=60)
    assert 0.7 < both[0] / both[1] < 1.4
    assert 0.3 < shared / alone < 0.7
    assert 0.7 < again / alone < 1.4
    for pace in (alone, shared, again):
        assert pace * 8 < MIBPS * MIB * 1.2
