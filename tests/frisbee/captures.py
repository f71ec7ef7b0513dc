"""Reads the captures of the original programs: pcap files, of which the UDP datagrams are kept."""

import lzma
import struct
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parents[1] / "data" / "frisbee"
SERVER = "10.99.0.1"
SESSIONS = sorted(path.name.split(".")[0] for path in DATA.glob("*.pcap.xz"))


class Datagram(NamedTuple):
    """What was captured of one datagram (``payload`` may be cut), and how long it was."""

    time: float
    source: str
    payload: bytes
    length: int

    @property
    def is_whole(self):
        return len(self.payload) == self.length


def datagrams(session):
    raw = lzma.decompress((DATA / f"{session}.pcap.xz").read_bytes())
    at = 24
    while at < len(raw):
        seconds, micros, captured, _length = struct.unpack_from("<IIII", raw, at)
        frame = raw[at + 16 : at + 16 + captured]
        at += 16 + captured
        if frame[12:14] != b"\x08\x00" or frame[23] != 17:
            continue
        udp = 14 + (frame[14] & 15) * 4
        length = struct.unpack_from("!H", frame, udp + 4)[0] - 8
        source = ".".join(map(str, frame[26:30]))
        yield Datagram(seconds + micros / 1e6, source, frame[udp + 8 :], length)


def stored_image(name):
    """An image that the original imagezip made."""
    return lzma.decompress((DATA.parent / "ndz" / f"{name}.ndz.xz").read_bytes())
