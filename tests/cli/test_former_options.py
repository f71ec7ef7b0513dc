"""Options that rhubarbe 9.5 has, too, and what they do."""

import os
import re
import socket

import pytest

from rhubarbe.cli.dispatch import main
from rhubarbe.shared.trust import user_name


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A repository, a place of one's own with an image, a gateway that keeps leases, a node."""
    images, here, state = (tmp_path / name for name in ("images", "here", "state"))
    for directory in (images, here, state):
        directory.mkdir()
    state.chmod(0o1777)
    for name in (
        "fedora",
        "saving__fit04__2026-11-01@10-24-11",
        "saving__fit05__2026-11-02@10-00-00",
    ):
        (images / f"{name}.ndz").write_bytes(bytes(2 << 20))
        os.utime(images / f"{name}.ndz", (1_700_000_000, 1_700_000_000))
    (images / "latest.ndz").symlink_to("saving__fit05__2026-11-02@10-00-00.ndz")
    (here / "mine.ndz").write_bytes(bytes(1 << 20))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # where nothing listens, from here on
    (tmp_path / "nodes.yaml").write_text(
        "nodes:\n- cmc: {hostname: reboot01, ip: 127.0.0.1}\n"
        "  control: {hostname: fit01, ip: 127.0.0.1, mac: 02:00:00:00:03:01}\n"
    )
    conf = tmp_path / "rhubarbe.conf"
    conf.write_text(
        f"[testbed]\ninventory_nodes_path = {tmp_path}/nodes.yaml\nstate_dir = {state}\n"
        f"[frisbee]\nimages_dir = {images}\n[leases]\nbackend = local\n"
        f"[networking]\nssh_port = {port}\n"
    )
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(here)
    return tmp_path


@pytest.fixture
def said(site, capsys):
    """Run a command; return its code, its output and its complaints."""

    def run(*words):
        code = main(["rhubarbe", *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def names(text):
    return re.findall(r"(?m)^(?:\S+ \S+ +\S+M  )?(\S+)  not ", text)


def test_images_of_the_repository_only(said):
    assert "mine" in said("images")[1]
    assert "mine" not in said("images", "-p")[1]


def test_images_with_a_name_of_somebody_s(said):
    assert names(said("images", "-p", "--labeled")[1]) == [
        "fedora",
        "saving__fit05__2026-11-02@10-00-00",
    ]
    assert len(names(said("images", "-p")[1])) == 3


def test_images_narrow(said):
    lines = said("images", "-n", "-p", "fedora")[1].splitlines()
    assert lines[1].split()[0] == "fedora"
    assert "2.00M" not in lines[1]


def test_resolve_tells_all_of_it(said, site):
    images = site / "images"
    assert said("resolve", "-v", "fedora")[1].endswith(f"  2.00M  {images}/fedora.ndz\n")
    assert said("resolve", "-v", "latest")[1].endswith(
        f"  2.00M  {images}/latest.ndz -> {images}/saving__fit05__2026-11-02@10-00-00.ndz\n"
    )
    assert said("resolve", "latest")[1] == f"{images}/latest.ndz\n"


def test_a_silent_wait_prints_nothing(said):
    assert said("wait", "-s", "-t", "0.5", "1") == (1, "", "")


def test_a_time_is_asked_for_booked_and_given_back_by_what_it_is(said):
    period = ("2060-03-27T10:00", "2060-03-27T12:00")
    me = user_name()
    assert said("book", "-q", *period) == (0, "that time is free\n", "")
    booked = f"{me} has the testbed from 2060-03-27 10:00 UTC until 2060-03-27 12:00 UTC (2 h)\n"
    code, out, _ = said("book", "-v", *period)
    assert (code, out.splitlines()[0]) == (0, "no other lease")
    assert out.endswith(booked)
    code, out, _ = said("book", "-q", "2060-03-27T11:00", "+5h")
    assert (code, out.startswith("not free: "), out.endswith(booked)) == (1, True, True)

    code, _, err = said("book", "-d", "2060-03-27T10:00", "+3h")
    assert code == 1
    assert f"{me} has no lease of exactly that time: there is lease " in err
    assert said("book", "-d", *period)[0] == 0
    code, _, err = said("book", "-d", *period)
    assert code == 1
    assert err.endswith("there is none then\n")


def test_a_lease_is_given_back_by_its_id_too(said):
    lease = said("book", "2060-03-27T10:00", "+2h")[1].split()[1].rstrip(":")
    assert said("book", "-d", lease) == (0, f"lease {lease} is deleted\n", "")


@pytest.mark.parametrize(
    "words", [["-d"], ["-q", "14:00"], ["-q", "-d", "14:00", "+1h"], ["-p", "x", "14:00", "+1h"]]
)
def test_what_does_not_go_together_is_a_usage_error(said, words, capsys):
    with pytest.raises(SystemExit) as caught:
        said("book", *words)
    assert caught.value.code == 2


def test_leases_without_those_of_root(said):
    said("book", "2060-03-27T10:00", "+2h")
    me = user_name()
    assert me in said("leases", "-u", "-a", "2060-01-01", "-b", "2061-01-01")[1]
    assert (me in said("leases", "-n")[1]) == (me != "root")


def test_leases_are_changed_by_another_verb(said, capsys):
    with pytest.raises(SystemExit) as caught:
        said("leases", "-i")
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith("error: argument -i: rhubarbe-book changes leases\n")


def test_there_are_no_phones_to_switch_off(said):
    code, _, complaint = said("bye", "-p")
    assert (code, complaint) == (
        1,
        "rhubarbe-bye: nothing to switch off: there are no phones here\n",
    )


def test_where_there_is_nothing_to_remove_that_is_said(said):
    code, shown, _ = said("images", "--remove")
    assert (code, shown.partition(":")[0]) == (0, "nothing to remove")
