"""A frisbee client that fails in the middle of the image: the real one, stopped after some dots."""

import os
import subprocess
import sys
from collections.abc import Sequence

PROGRESS = frozenset(b".sz")
PIECE = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Run `COUNT PROGRAM ARGS...` and pass on what it says, until COUNT marks of progress."""
    words = list(sys.argv[1:] if argv is None else argv)
    marks = int(words.pop(0))
    with subprocess.Popen(words, stderr=subprocess.PIPE) as client:
        try:
            failed = _relay(client, marks)
        finally:
            client.kill()
    if failed:
        os.write(2, b"\nfrisbee: write error: Input/output error\n")
        return 1
    return client.returncode


def _relay(client: "subprocess.Popen[bytes]", marks: int) -> bool:
    """Copy the client's words; True once so many marks of progress have gone by."""
    joined = False
    if client.stderr is None:
        return False
    while piece := os.read(client.stderr.fileno(), PIECE):
        os.write(2, piece)
        joined = joined or b"Joined" in piece
        marks -= sum(byte in PROGRESS for byte in piece.rpartition(b"\n")[2]) if joined else 0
        if marks <= 0:
            return True
    client.wait()
    return False
