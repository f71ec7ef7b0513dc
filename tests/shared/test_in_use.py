"""Whether a file is in use: by our commands, which say so, and by anybody, as the kernel tells."""

import fcntl
import os
import subprocess
import sys

import pytest

from rhubarbe.shared.in_use import InUse, alone, say_in_use
from rhubarbe.shared.trust import user_name


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.ndz"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def descriptor(file):
    opened = os.open(file, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.fixture
def other(file):
    """Another process that has it open on its standard input."""
    with file.open("rb") as stream, subprocess.Popen(["sleep", "60"], stdin=stream) as process:
        stream.close()
        yield process
        process.kill()


def test_a_file_that_nobody_has_open_is_ours_for_a_moment(descriptor, file):
    for _ in range(2):
        with alone(descriptor, str(file)):
            pass
    with file.open("ab"):  # nothing is left of it
        pass


def test_who_has_it_open_is_named(descriptor, file, other):
    with pytest.raises(InUse) as caught, alone(descriptor, str(file)):
        pass
    assert str(caught.value) == (f"{file}: is in use by {user_name()}'s sleep (pid {other.pid})")
    other.kill()
    other.wait()
    with alone(descriptor, str(file)):
        pass


def test_whoever_says_so_is_believed_where_the_kernel_tells_nothing(descriptor, file, monkeypatch):
    """So it is for who may write the directory, but does not own the file."""
    real = fcntl.fcntl

    def refuse(where, command, *arguments):
        if command == fcntl.F_SETLEASE:
            raise PermissionError(13, "Permission denied")
        return real(where, command, *arguments)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    second = os.open(file, os.O_RDONLY)
    try:
        with alone(descriptor, str(file)):
            pass
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        say_in_use(second)
        with pytest.raises(InUse, match="is in use by"), alone(descriptor, str(file)):
            pass
    finally:
        os.close(second)
    with alone(descriptor, str(file)):
        pass


def test_several_may_use_it_and_the_last_one_frees_it(descriptor, file):
    users = [os.open(file, os.O_RDONLY) for _ in range(2)]
    for user in users:
        say_in_use(user)
    for user in users:
        with pytest.raises(InUse), alone(descriptor, str(file)):
            pass
        os.close(user)
    with alone(descriptor, str(file)):
        pass


def test_a_child_that_has_inherited_it_keeps_it(descriptor, file):
    """An image server outlives for a moment the load that was killed."""
    opened = os.open(file, os.O_RDONLY)
    say_in_use(opened)
    with subprocess.Popen(["sleep", "60"], pass_fds=[opened]) as server:
        os.close(opened)
        said = pytest.raises(InUse, match=rf"sleep \(pid {server.pid}\)")
        with said, alone(descriptor, str(file)):
            pass
        server.kill()
    with alone(descriptor, str(file)):
        pass


def test_who_opens_it_meanwhile_waits_and_ends_nobody(file):
    """The kernel tells who holds the lease by a signal, which would end a process otherwise."""
    script = (
        "import os, sys, threading\n"
        "from rhubarbe.shared.in_use import alone\n"
        "file = sys.argv[1]\n"
        "opened = os.open(file, os.O_RDONLY)\n"
        "reader = threading.Thread(target=lambda: open(file, 'rb').close())\n"
        "with alone(opened, file):\n"
        "    reader.start()\n"
        "    reader.join(0.2)\n"
        "    assert reader.is_alive()\n"
        "reader.join()\n"
    )
    subprocess.run([sys.executable, "-c", script, file], check=True, timeout=30)
