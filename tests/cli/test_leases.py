"""The verbs leases and book, as their user sees them."""

import json
import os
import time

import pytest

from rhubarbe.cli.dispatch import main
from rhubarbe.leases.store import Store
from rhubarbe.leases.user import User, user_of

ME = user_of(os.getuid())


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """A gateway that keeps its leases, in a zone without changes of the clocks."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    conf = tmp_path / "site.conf"
    conf.write_text(f"[testbed]\nstate_dir = {tmp_path / 'state'}\n[leases]\nbackend = local\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield conf
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "state")


def add(store, begins, ends, owner=ME):
    now = time.time()
    with store.locked():
        return store.add(now + begins, now + ends, owner)


def say(capsys, *argv, code=0):
    """Run a verb; return what it prints, on standard output or as its error."""
    assert main([f"rhubarbe-{argv[0]}", *argv[1:]]) == code
    shown = capsys.readouterr()
    assert (shown.err == "") == (code == 0 or shown.out != "")
    return shown.out or shown.err


def test_book_list_and_give_back(capsys):
    told = say(capsys, "book", "2999-01-01T10:00", "12:30")
    name = f"{ME.uid}.1"
    period = "from 2999-01-01 10:00 UTC until 2999-01-01 12:30 UTC (2 h 30 min)"
    assert told == f"lease {name}: {ME.name} has the testbed {period}\n"
    header, row = say(capsys, "leases").splitlines()
    assert header.split() == ["id", "owner", "from", "until"]
    assert row.split() == [
        name, ME.name, "2999-01-01", "10:00", "UTC", "2999-01-01", "12:30", "UTC",
        "2", "h", "30", "min,", "yours",
    ]  # fmt: skip
    assert say(capsys, "book", "--delete", name) == f"lease {name} is deleted\n"
    assert say(capsys, "leases") == "no leases\n"
    assert "no such lease" in say(capsys, "book", "--delete", name, code=1)


def test_overlaps_are_refused_with_who_has_it(capsys):
    say(capsys, "book", "2999-01-01T10:00", "+2h")
    say(capsys, "book", "2999-01-01T12:00", "+2h")
    told = say(capsys, "book", "2999-01-01T11:00", "+4h", code=1)
    assert told == (
        f"rhubarbe-book: that time is not free: {ME.name} has it from 2999-01-01 10:00 UTC until"
        " 2999-01-01 12:00 UTC, and 1 more; nothing was booked\n"
    )
    assert len(say(capsys, "leases").splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["2001-01-01", "2999-01-01"], "cannot begin in the past"),
        (["now", "now"], "must end after it begins"),
        (["soon", "+1h"], "'soon' is no time"),
        (["now", "+1h", "--slice", "no such user"], "no such user"),
    ],
)
def test_what_cannot_be_booked(words, says, capsys):
    told = say(capsys, "book", *words, code=1)
    assert told.startswith("rhubarbe-book: ")
    assert says in told
    assert told.count("\n") == 1
    assert say(capsys, "leases") == "no leases\n"


@pytest.mark.parametrize(
    "words", [[], ["now"], ["now", "+1h", "--delete", "1"], ["now", "--delete", "1"]], ids=str
)
def test_half_a_command_line_is_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["rhubarbe-book", *words])
    assert caught.value.code == 2
    assert "give FROM and UNTIL" in capsys.readouterr().err


def test_only_what_is_not_over_unless_all_is_asked_for(capsys, store):
    add(store, -7200, -3600)
    add(store, -60, 60)
    rows = say(capsys, "leases").splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["*"]
    assert len(say(capsys, "leases", "--all").splitlines()) == 3
    assert len(say(capsys, "leases", "--after", "now", "--before", "+1m").splitlines()) == 2
    assert say(capsys, "leases", "--after", "+2m") == "no leases\n"


def test_what_overlaps_although_it_should_not_is_marked(capsys, store):
    add(store, 60, 600)
    add(store, 300, 900)
    add(store, 900, 1000)
    rows = say(capsys, "leases").splitlines()[1:]
    assert ["overlaps" in row for row in rows] == [True, True, False]


def test_for_programs(capsys, store):
    lease = add(store, -60, 60)
    (told,) = json.loads(say(capsys, "leases", "--json"))
    assert set(told) == {"id", "owner", "from", "until", "yours", "now"}
    assert (told["id"], told["owner"], told["yours"], told["now"]) == (
        lease.name,
        ME.name,
        True,
        True,
    )
    assert told["from"].endswith("+00:00")


def test_a_lease_that_runs_ends_now(capsys, store):
    lease = add(store, -60, 600)
    assert say(capsys, "book", "--delete", lease.name) == f"lease {lease.name} ends now\n"
    (kept,) = store.read()
    assert kept.begins == lease.begins
    assert abs(kept.ends - time.time()) < 10
    assert "over since" in say(capsys, "book", "--delete", lease.name, code=1)


def test_another_s_lease_is_left(capsys, store, monkeypatch):
    lease = add(store, 600, 900)
    monkeypatch.setattr("rhubarbe.leases.user.current_user", lambda: User(12345, "ada"))
    told = say(capsys, "book", "--delete", lease.name, code=1)
    assert f"the lease of {ME.name}, and not yours" in told
    told = say(capsys, "book", "2999-01-01", "+1h", "-s", ME.name, code=1)
    assert f"only root can make a lease for another, such as {ME.name}" in told
    assert store.read() == [lease]


def test_check(capsys, store, monkeypatch):
    monkeypatch.setattr(User, "is_root", False)
    told = say(capsys, "leases", "--check", code=1)
    assert told == f"{ME.name} has no lease now (the testbed is free)\n"
    add(store, -60, 3600)
    assert say(capsys, "leases", "--check").startswith(f"{ME.name} has the testbed until ")
    monkeypatch.setattr(User, "is_root", True)
    assert say(capsys, "leases", "--check") == f"{ME.name} needs no lease\n"


def test_without_a_backend(capsys, site):
    site.write_text("")
    assert "no lease is needed here" in say(capsys, "leases")
    assert say(capsys, "leases", "--json") == "[]\n"
    assert "backend is none" in say(capsys, "book", "now", "+1h", code=1)


def test_a_service_that_is_down(capsys, site):
    site.write_text(
        "[leases]\nbackend = r2labapi\n[r2labapi]\nurl = http://127.0.0.1:1/\nresource_name = x\n"
        "admin_token = secret\n"
    )
    told = say(capsys, "leases", code=1)
    assert told.startswith("rhubarbe-leases: the reservation service at http://127.0.0.1:1: ")
    assert told.count("\n") == 1
    assert "cannot be reached" in say(capsys, "book", "now", "+1h", code=1)
    told = say(capsys, "config", "r2labapi")
    assert "secret" not in told
    assert "(not shown)" in told


def test_the_password_is_asked_for(capsys, site, monkeypatch):
    asked = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "secret")
    say(capsys, "book", "now", "+1h", "-e", "ada@example.org")
    assert asked == []
    site.write_text(
        "[leases]\nbackend = r2labapi\n[r2labapi]\nurl = http://127.0.0.1:1/\nresource_name = x\n"
    )
    say(capsys, "book", "now", "+1h", "-e", "ada@example.org", code=1)
    assert asked == ["password of ada@example.org: "]
