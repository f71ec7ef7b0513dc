"""A file system that never answers, over a directory: for one command, in its own mount namespace.

    stuck.py DIRECTORY WORD COMMAND...

It is FUSE's, and nobody reads what the kernel asks. It is there from the start, or, where WORD is
the path of a file, from when that file shows up. It goes with this process.
"""

import ctypes
import os
import subprocess
import sys
import time

MS_REC, MS_PRIVATE, CLONE_NEWNS = 0x4000, 1 << 18, 0x20000
LIBC = ctypes.CDLL(None, use_errno=True)


def require(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def cover(directory):
    """Mount it; who asks for anything there waits until this process has ended."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    require(LIBC.mount(b"dead", os.fsencode(directory), b"fuse", 0, options.encode()))


def main():
    directory, word, *command = sys.argv[1:]
    require(LIBC.unshare(CLONE_NEWNS))
    require(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    if word == "now":
        cover(directory)
    with subprocess.Popen(command) as process:
        while word != "now" and process.poll() is None:
            if os.path.lexists(word):
                cover(directory)
                break
            time.sleep(0.005)
        sys.exit(process.wait())


if __name__ == "__main__":
    main()
