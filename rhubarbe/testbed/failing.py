"""What writes the image fails in the middle of it: the real program, stopped after some dots."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence

PROGRESS = re.compile(rb"[.sz]{2,}")
PIECE = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Run `COUNT NAME PROGRAM ARGS...`, called NAME, up to its first COUNT marks of progress."""
    words = list(sys.argv[1:] if argv is None else argv)
    marks, name = int(words.pop(0)), words.pop(0)
    with subprocess.Popen(words, stderr=subprocess.PIPE) as client:
        try:
            failed = _relay(client, marks)
        finally:
            client.kill()
    if failed:
        os.write(2, f"\n{name}: write error: Input/output error\n".encode())
        return 1
    return client.returncode


def _relay(client: "subprocess.Popen[bytes]", marks: int) -> bool:
    """Copy the client's words; True once so many marks of progress have gone by."""
    if client.stderr is None:
        return False
    seen, line = 0, b""
    while piece := os.read(client.stderr.fileno(), PIECE):
        os.write(2, piece)
        *lines, line = (line + piece).split(b"\n")
        seen += sum(map(_marks, lines))
        if seen + _marks(line) >= marks:
            return True
    client.wait()
    return False


def _marks(line: bytes) -> int:
    """Count the marks that a line begins with; words begin with one at most."""
    match = PROGRESS.match(line)
    return len(match[0]) if match else 0
