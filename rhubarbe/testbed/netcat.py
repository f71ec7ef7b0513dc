"""`nc` of the ramdisk: standard input goes to HOST PORT, from the node's own address."""

import os
import socket
import sys
from collections.abc import Sequence

PIECE = 1 << 18
USAGE = 2  # exit status


def main(argv: Sequence[str] | None = None) -> int:
    """Send until the end of the input, then wait until the other side has closed too."""
    words = [word for word in (sys.argv[1:] if argv is None else argv) if word != "-N"]
    if len(words) != len(("HOST", "PORT")) or not words[1].isdecimal():
        print("usage: nc [-N] HOST PORT", file=sys.stderr)
        return USAGE
    source = (os.environ.get("NODE_IP", ""), 0)
    try:
        with socket.create_connection((words[0], int(words[1])), source_address=source) as peer:
            while piece := os.read(0, PIECE):
                peer.sendall(piece)
            peer.shutdown(socket.SHUT_WR)
            while piece := peer.recv(PIECE):
                os.write(1, piece)
    except OSError as error:
        print(f"nc: {words[0]} {words[1]}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0
