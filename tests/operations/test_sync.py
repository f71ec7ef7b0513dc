"""What another gateway says of its images is a stranger's word."""

import json
import shlex
import sys

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.operations import sync
from rhubarbe.operations.sync import Peer, Remote


def peer(tmp_path, program):
    """Return a gateway that answers whatever it is asked by this program."""
    (tmp_path / "peer.py").write_text(program)
    return Peer("there", shlex.join([sys.executable, str(tmp_path / "peer.py")]))


def says(text):
    return f"import sys; sys.stdout.buffer.write({text!r}.encode('utf-8', 'surrogateescape'))"


def listing(**more):
    image = {"name": "a", "size": 5, "id": None} | more
    return json.dumps([{"directory": "/images", "images": [image]}])


def test_a_listing_is_understood(tmp_path):
    there, images = peer(tmp_path, says(listing(id="ab"))).repository()
    assert (str(there), images) == ("/images", [Remote("a", 5, "ab")])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        listing(size=10**400),
        listing(size=-1),
        listing(size=1e300),
        listing(size=None),
        listing(name=["a"]),
        listing(id={"a": "b"}),
        listing().replace("/images", "images"),
        listing().replace("/images", "/im\\u001b[2Jages"),
        listing().replace("/images", "/im\\u0000ages"),
        listing().replace('"/images"', "7"),
        "\x1b]0;title\x07",
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, text):
    with pytest.raises(GatewayError, match="does not list images there") as caught:
        peer(tmp_path, says(text)).repository()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.timeout(30)
@pytest.mark.parametrize("line", ["x", "x\\n"])
def test_words_without_end_are_cut(tmp_path, monkeypatch, line):
    monkeypatch.setattr(sync, "MOST_TOLD", 1 << 20)
    endless = f"import sys\nwhile True: sys.stdout.write('{line}' * 10000)"
    with pytest.raises(GatewayError, match="says more than 1048576 bytes, and was ended"):
        peer(tmp_path, endless).repository()


@pytest.mark.timeout(30)
def test_complaints_are_taken_in_as_far_as_they_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(sync, "MOST_TOLD", 1 << 16)
    lots = "import sys\nsys.stderr.write('\\x1b[2Jno such command\\n' * 100000)\nsys.exit(127)"
    with pytest.raises(GatewayError, match=r"rhubarbe-images failed \(127\): no such command"):
        peer(tmp_path, lots).repository()
