"""Where others may have laid something: what is written there is ours, or nothing is written."""

import os
import threading

import pytest

from rhubarbe.annexe.errors import NotOurs
from rhubarbe.annexe.places import open_to_tell

ALICE = 4001
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")


def tell(path, text=b"234.5.6.1:10001\n"):
    descriptor = open_to_tell(str(path))
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def test_a_file_is_made_or_written_anew(tmp_path):
    told = tmp_path / "address"
    tell(told)
    tell(told, b"new\n")
    assert told.read_bytes() == b"new\n"
    (tmp_path / "link").symlink_to(told)
    tell(tmp_path / "link", b"by a link of ours\n")
    assert told.read_bytes() == b"by a link of ours\n"


@as_root
@pytest.mark.parametrize("kind", ["link", "dangling", "file", "pipe", "second name"])
def test_what_somebody_else_laid_there_is_left_alone(tmp_path, kind):
    precious, told = tmp_path / "precious", tmp_path / "address"
    precious.write_text("precious")
    if kind in {"link", "dangling"}:
        told.symlink_to(precious if kind == "link" else tmp_path / "none")
    elif kind == "second name":
        told.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(told)
    else:
        told.write_text("theirs")
    if kind != "second name":
        os.chown(told, ALICE, ALICE, follow_symlinks=False)
    with pytest.raises(NotOurs, match="address: is"):
        tell(told)
    assert precious.read_text() == "precious"
    assert not (tmp_path / "none").exists()
    assert kind != "file" or told.read_text() == "theirs"


def test_what_is_open_already_is_written_by_its_number(tmp_path):
    reading, writing = os.pipe()
    try:
        tell(f"/dev/fd/{writing}")
        assert os.read(reading, 100) == b"234.5.6.1:10001\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_pipe_of_ours_is_waited_for(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    tell(pipe)
    reader.join(60)
    assert found == [b"234.5.6.1:10001\n"]
