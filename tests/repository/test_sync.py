"""What another gateway says of its images is a stranger's word."""

import json
import shlex
import sys

import pytest

from rhubarbe.errors import GatewayError, ImageError
from rhubarbe.repository import bounded
from rhubarbe.repository.bounded import ProgramBounds, run_bounded
from rhubarbe.repository.sync import Peer, Remote, Verdict, compare


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
        listing(aliases="b"),
        listing(aliases=[7]),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Welcome to faraday!\n" + listing(), "prints before what .*: 'Welcome to faraday!'"),
        ("[motd] 3 updates\n\n" + listing(), r"prints before what .*: '\[motd\] 3 updates'"),
        ("\x1b[2J\x1b]0;t\x07hi" + listing(), "prints before what .*hi'"),
        (listing() + "\nlogout\n", "prints after what .*: 'logout'"),
        ("x" * 9000 + listing(), "prints before what .*: 'x+"),
    ],
)
def test_a_shell_that_prints_beside_is_told_by_its_words(tmp_path, text, words):
    with pytest.raises(GatewayError, match=rf"\Athere: its shell there {words}") as caught:
        peer(tmp_path, says(text)).repository()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_an_alias_is_told_with_its_image(tmp_path):
    _, images = peer(tmp_path, says(listing(aliases=["b", "c"]))).repository()
    with pytest.raises(
        ImageError, match="b: is an alias, and these are not copied; the image is a"
    ):
        compare(images, [], ["b.ndz"])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("line", ["x", "x\\n"])
def test_words_without_end_are_cut(tmp_path, monkeypatch, line):
    monkeypatch.setattr(bounded, "MOST_TOLD", 1 << 20)
    endless = f"import sys\nwhile True: sys.stdout.write('{line}' * 10000)"
    with pytest.raises(GatewayError, match="says more than 1048576 bytes, and was ended"):
        peer(tmp_path, endless).repository()


@pytest.mark.timeout(30)
def test_a_complaint_is_one_line(tmp_path):
    lots = "import sys\nsys.stderr.write('\\x1b[2Jno such command\\n' * 1000)\nsys.exit(127)"
    with pytest.raises(GatewayError, match=r"rhubarbe-images failed \(127\): no such command"):
        peer(tmp_path, lots).repository()


@pytest.mark.timeout(30)
def test_complaints_without_end_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "MOST_TOLD", 1 << 16)
    endless = "import sys\nwhile True: sys.stderr.write('no such command\\n' * 1000)"
    with pytest.raises(GatewayError, match="says more than 65536 bytes, and was ended"):
        peer(tmp_path, endless).repository()


SILENT = "import time; time.sleep(600)"
DRIPS = "import sys, time\nwhile True: print('x', flush=True); time.sleep(0.05)"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
HIDES = "import os, time\nos.close(1); os.close(2)\ntime.sleep(600)"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("program", [SILENT, DRIPS, DEAF, HIDES])
def test_a_peer_that_stalls_is_given_up(tmp_path, monkeypatch, program):
    monkeypatch.setattr(bounded, "GRACE_S", 0.5)
    with pytest.raises(GatewayError, match="there: true did not end in 2 s, and was ended"):
        peer(tmp_path, program).run("true", seconds=2)


def test_no_file_grows_beyond_what_was_said(tmp_path):
    script = f"dd if=/dev/zero of={tmp_path}/image bs=1000 count=1000"
    with pytest.raises(GatewayError, match="failed"):
        run_bounded(["sh", "-c", f"sleep 0.2; exec {script}"], "rsync", ProgramBounds(30, 50_000))
    assert (tmp_path / "image").stat().st_size == 50_000


def test_progress_is_drawn_clean_and_no_more_often_than_is_seen(tmp_path):
    drawn = []
    flood = (
        "import sys\nfor n in range(300000): sys.stdout.write(f'\\x1b[2J\\r{n} %\\x07' + 'x' * 50)"
    )
    run_bounded([sys.executable, "-c", flood], "rsync", ProgramBounds(60, draw=drawn.append))
    assert drawn
    assert all(text.isprintable() and len(text) <= 100 for text in drawn)
    assert len(drawn) < 100


ODD_NAMES = [
    *(
        "../up",
        "/etc/x",
        "a/b",
        "..",
        ".",
        "",
        "-x\n",
        "\x1b[2J",
        "a\0",
        "\ud800",
        "\udc80",
        "x" * 5000,
    ),
    *("..ndz/..", " ", "~", "$(x)", "`x`", "*"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_never_copied(tmp_path, name):
    _, images = peer(tmp_path, f"print({listing(name=name)!r})").repository()
    (transfer,) = compare(images, [], [])
    assert transfer.verdict is Verdict.BAD_NAME


@pytest.mark.parametrize("size", [2**63, 2**64, 10**30, -(2**63), "5", [5], 1 << 51])
def test_an_odd_size_is_none(tmp_path, size):
    with pytest.raises(GatewayError, match="does not list images there"):
        peer(tmp_path, says(listing(size=size))).repository()
