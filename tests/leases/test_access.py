"""Who may go on, who is refused, and what is said."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.config import settings as declared
from rhubarbe.errors import LeaseError
from rhubarbe.events import Notice
from rhubarbe.leases import access, require, user, warn
from rhubarbe.leases.user import User, current_user, user_of

ME = user_of(os.getuid())


@pytest.fixture
def settings(tmp_path):
    return Settings(
        testbed=declared.TestbedSettings(state_dir=tmp_path / "state"),
        leases=declared.LeasesSettings(backend="local"),
    )


@pytest.fixture
def no_root(monkeypatch):
    """Whoever runs the tests, root's privilege is not what they are about."""
    monkeypatch.setattr(User, "is_root", False)


def add(store, *periods):
    """Note leases of ours, in seconds from now."""
    now = time.time()
    with store.locked():
        for begins, ends in periods:
            store.add(now + begins, now + ends, ME)


async def look(settings, bus):
    await warn(settings, "status", bus)


async def asked(settings, seconds=300.0, call=None):
    """Return what was said to who may go on."""
    bus = Bus()
    events = bus.subscribe()
    try:
        if call is None:
            await require(settings, "load", seconds, bus)
        else:
            await call(settings, bus)
    finally:
        bus.close()
    return [event.text async for event in events if isinstance(event, Notice)]


@pytest.mark.usefixtures("no_root")
async def test_without_a_lease_one_line_refuses(settings, store):
    with pytest.raises(
        LeaseError, match=rf"\A{ME.name} has no lease now \(the testbed is free\)[^\n]*\Z"
    ):
        await asked(settings)
    add(store, (-7200, -3600), (3600, 7200))
    with pytest.raises(LeaseError, match="load needs one: nothing was touched"):
        await asked(settings)


@pytest.mark.usefixtures("no_root")
async def test_whom_root_has_named_needs_no_lease(settings):
    accounts = declared.AccountsSettings(privileged=("somebody", ME.name))
    told = await asked(replace(settings, accounts=accounts))
    assert told == [f"no lease is asked for: {ME.name} may load at any time"]
    with pytest.raises(LeaseError):
        await asked(replace(settings, accounts=declared.AccountsSettings(privileged=("some",))))


@pytest.mark.usefixtures("no_root")
async def test_who_only_looks_is_warned(settings, store):
    (told,) = await asked(settings, call=look)
    assert told == f"{ME.name} has no lease now (the testbed is free); status needs none"
    add(store, (-60, 1))
    assert await asked(settings, call=look) == []


@pytest.mark.usefixtures("no_root")
async def test_who_only_looks_is_not_held_up_by_a_service_that_is_silent(settings, monkeypatch):
    monkeypatch.setattr(access, "WARNED_WITHIN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        remote = replace(
            settings,
            leases=declared.LeasesSettings(backend="r2labapi", timeout=60.0),
            r2labapi=declared.R2labapiSettings(url=url, resource_name="testbed"),
        )
        told = await asked(remote, call=look)
    assert told == ["whether you have a lease is not known: no answer in 0.05 s"]


@pytest.mark.usefixtures("no_root")
async def test_who_only_looks_is_not_refused_where_leases_cannot_be_read(settings, tmp_path):
    (tmp_path / "state").write_text("no directory")
    (told,) = await asked(settings, call=look)
    assert told.startswith("whether you have a lease is not known: ")


async def test_root_who_only_looks_is_told_nothing(settings, monkeypatch):
    monkeypatch.setattr(user, "current_user", lambda: User(0, "root"))
    assert await asked(settings, call=look) == []


@pytest.mark.usefixtures("no_root")
async def test_with_a_lease_nothing_is_said(settings, store):
    add(store, (-60, 3600))
    assert await asked(settings) == []


@pytest.mark.usefixtures("no_root")
async def test_a_lease_of_another_is_none(settings, store, monkeypatch):
    add(store, (-60, 3600))
    monkeypatch.setattr(user, "current_user", lambda: User(12345, "bob"))
    with pytest.raises(LeaseError, match=rf"bob has no lease now \({ME.name} has it\)"):
        await asked(settings)


@pytest.mark.usefixtures("no_root")
async def test_a_lease_that_ends_before_the_work_is_a_warning_with_the_figure(
    settings, store, monkeypatch
):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    add(store, (-60, 100))
    (warning,) = await asked(settings)
    assert warning.startswith("your lease ends at ")
    assert warning.endswith("in 1 min 40 s, but load may take 5 min")
    add(store, (90, 3600))
    assert await asked(settings) == []


@pytest.mark.usefixtures("no_root")
async def test_a_lease_that_just_suffices_needs_no_warning(settings, store, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    add(store, (-60, 300))
    assert await asked(settings, 300) == []
    assert len(await asked(settings, 300.5)) == 1


@pytest.mark.usefixtures("no_root")
async def test_leases_that_follow_are_looked_for_as_far_as_the_work_reaches(settings, store):
    day = 86400
    add(store, (-60, day), (day, 3 * day))
    assert await asked(settings, 2.5 * day) == []


@pytest.mark.usefixtures("no_root")
async def test_leases_that_cannot_be_read_let_only_root_go_on(settings, tmp_path):
    (tmp_path / "state").write_text("in the way")
    words = "Not a directory.*; without a lease only root goes on: nothing touched"
    with pytest.raises(LeaseError, match=words) as caught:
        await asked(settings)
    assert isinstance(caught.value.__cause__, LeaseError)


@pytest.mark.usefixtures("no_root")
async def test_what_others_keep_that_cannot_be_read_is_told_fit_for_a_terminal(
    settings, store, monkeypatch
):
    from rhubarbe.leases.store import Store

    add(store, (-60, 3600))
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda self: self._tell("\x1b[2Jbob's") or read(self))
    (said,) = await asked(settings)
    assert said.endswith("bob's")
    assert said.isprintable()


@pytest.mark.usefixtures("no_root")
async def test_without_a_backend_everybody_may():
    assert await asked(Settings()) == []


async def test_root_is_always_allowed_and_told(settings, monkeypatch):
    monkeypatch.setattr(user, "current_user", lambda: User(0, "root"))
    assert await asked(settings) == ["no lease is asked for: root may load at any time"]


@pytest.mark.usefixtures("no_root")
async def test_the_loop_goes_on_while_the_disk_is_read(settings, monkeypatch):
    from rhubarbe.leases.store import Store

    loop = asyncio.get_running_loop()
    passed = []

    def read(self):
        asyncio.run_coroutine_threadsafe(_note(passed), loop).result(5)
        return []

    monkeypatch.setattr(Store, "read", read)
    with pytest.raises(LeaseError):
        await asked(settings)
    assert passed == [True]


async def _note(passed):
    passed.append(True)


def test_who_we_are_is_the_kernel_s_word(monkeypatch):
    for name in ("USER", "LOGNAME", "SUDO_USER", "HOME"):
        monkeypatch.setenv(name, "ada")
    assert current_user().uid == os.getuid()
    assert current_user().name != "ada"
    assert user_of(4123456789) == User(4123456789, "uid 4123456789")


def test_a_user_is_found_by_name():
    assert user.user_called("root") == User(0, "root")
    assert user.user_called("nobody-at-all") is None


@pytest.mark.parametrize(
    ("backend", "unused"),
    [
        ("none", "sqlite3 aiohttp rhubarbe.leases.desk"),
        ("local", "aiohttp"),
    ],
)
def test_only_what_the_backend_needs_is_imported(tmp_path, backend, unused):
    check = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from rhubarbe.bus import Bus\n"
        "from rhubarbe.config import Settings, settings as s\n"
        "from rhubarbe.errors import LeaseError\n"
        "from rhubarbe.leases import require\n"
        "settings = Settings(testbed=s.TestbedSettings(state_dir=Path(sys.argv[1])),"
        " leases=s.LeasesSettings(backend=sys.argv[2]))\n"
        "try: asyncio.run(require(settings, 'load', 1.0, Bus()))\n"
        "except LeaseError as error: print(error)\n"
        "print(*[name for name in sys.argv[3].split() if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, tmp_path, backend, unused],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == "\n"
