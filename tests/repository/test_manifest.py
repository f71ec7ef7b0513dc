"""The manifest that a load makes while it checks, and what it keeps for the next one."""

import lzma
import os
import threading
import time
from pathlib import Path

import pytest

from rhubarbe.errors import ImageError
from rhubarbe.ndz.manifest import Manifest
from rhubarbe.repository import manifest as module
from rhubarbe.repository import opening
from rhubarbe.repository.manifest import KINDS, PREFIX
from rhubarbe.repository.opening import OpenImage

DATA = Path(__file__).parents[1] / "data" / "ndz"
IMAGE = lzma.decompress((DATA / "d4-raw.ndz.xz").read_bytes())


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An image that was written a while ago, as far as its times tell."""
    monkeypatch.setattr(module, "SETTLED", -1.0)
    path = tmp_path / "image.ndz"
    path.write_bytes(IMAGE)
    path.chmod(0o644)
    return path


@pytest.fixture
def checks(monkeypatch):
    """Count how often an image is read and checked."""
    counted = []
    real = opening.check_image

    def check_image(*arguments):
        counted.append(arguments[0])
        return real(*arguments)

    monkeypatch.setattr(opening, "check_image", check_image)
    return counted


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def checked(path, state, kind=KINDS[0]):
    image = OpenImage(path)
    try:
        return module.check(image, str(state), threading.Event(), kind)
    finally:
        image.close()


def kept(state):
    return sorted(state.glob(f"{os.getuid()}/{PREFIX}*"))


def test_it_vouches_for_the_image_and_is_made_once(path, state, checks):
    first, second = checked(path, state), checked(path, state)
    assert first == second
    assert len(checks) == 1
    manifest = Manifest.parse(first.manifest.content, first.manifest.digest)
    assert manifest.chunks == 1
    assert manifest.vouches(0, IMAGE)
    assert not manifest.vouches(0, bytes(len(IMAGE)))
    assert (first.size, first.data_end) == (len(IMAGE), manifest.data_end)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_kept_by_itself(path, state, checks, kind):
    assert checked(path, state, kind).manifest.kind == kind
    for other in KINDS:
        checked(path, state, other)
    checked(path, state, kind)
    assert len(checks) == len(KINDS)


def touch(path):
    os.utime(path, (1, 1))


def rewrite(path):
    status = path.stat()
    path.write_bytes(IMAGE)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path):
    other = path.with_name("other.ndz")
    other.write_bytes(IMAGE)
    other.chmod(0o644)
    other.replace(path)


@pytest.mark.parametrize("change", [touch, rewrite, replace])
def test_a_file_that_is_not_the_same_any_more_is_checked_again(path, state, checks, change):
    checked(path, state)
    time.sleep(0.02)  # the kernel's clock of files ticks every few milliseconds
    change(path)
    checked(path, state)
    assert len(checks) == 2


def test_a_damaged_image_is_no_image_though_its_manifest_is_kept(path, state):
    checked(path, state)
    time.sleep(0.02)
    with path.open("r+b") as stream:
        stream.seek(5000)
        stream.write(bytes(200))
    with pytest.raises(ImageError, match="chunk 0"):
        checked(path, state)
    assert len(kept(state)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda _: b"",
        lambda data: bytes(len(data)),
        lambda _: b"\xff" * 100,
        lambda data: data[:64] + data[65:] + b"\0",
    ],
)
def test_what_was_kept_and_is_damaged_is_made_again(path, state, checks, damage):
    first = checked(path, state)
    (file,) = kept(state)
    file.write_bytes(damage(file.read_bytes()))
    assert checked(path, state) == first
    assert len(checks) == 2
    assert checked(path, state) == first
    assert len(checks) == 2


def test_what_has_just_been_written_or_is_private_is_not_kept(path, state, monkeypatch):
    path.chmod(0o600)
    checked(path, state)
    path.chmod(0o644)
    monkeypatch.setattr(module, "SETTLED", 60.0)
    checked(path, state)
    assert kept(state) == []


def test_a_place_that_cannot_be_written_is_no_fault(path, tmp_path, checks):
    (tmp_path / "state").write_text("no directory")
    checked(path, tmp_path / "state")
    checked(path, tmp_path / "state")
    assert len(checks) == 2


def test_only_the_newest_are_kept(path, state, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    for stamp in range(6):
        os.utime(path, (stamp, stamp))
        checked(path, state)
        newest = max(kept(state), key=lambda file: file.stat().st_mtime_ns)
        assert len(kept(state)) == min(stamp + 1, 3)
    assert newest.exists()


@pytest.mark.parametrize(
    "change", [lambda file: file.write(IMAGE[:5]), lambda file: file.truncate(9)]
)
def test_an_image_that_is_written_to_while_it_is_checked_has_no_manifest(
    path, state, monkeypatch, change
):
    real = opening.check_image

    def check_image(*arguments):
        summary = real(*arguments)
        with path.open("r+b") as file:
            change(file)
        return summary

    monkeypatch.setattr(opening, "check_image", check_image)
    with pytest.raises(ImageError, match=r"image\.ndz: was changed while it was checked"):
        checked(path, state)
    assert kept(state) == []
