"""Which backend is asked, and with what."""

import pytest

from rhubarbe.config import Settings
from rhubarbe.config import settings as declared
from rhubarbe.errors import LeaseError
from rhubarbe.leases import local, remote
from rhubarbe.leases.desk import open_desk
from rhubarbe.leases.user import User

ADA = User(4001, "ada")


@pytest.fixture
def asked(monkeypatch):
    """What each kind of desk is made with."""
    made = []
    for module, name in ((local, "LocalDesk"), (remote, "RemoteDesk")):
        monkeypatch.setattr(module, name, lambda *given, name=name: made.append((name, *given)))
    return made


def settings_of(backend, tmp_path):
    return Settings(
        testbed=declared.TestbedSettings(state_dir=tmp_path),
        leases=declared.LeasesSettings(backend=backend),
    )


def test_leases_of_this_gateway(asked, tmp_path):
    open_desk(settings_of("local", tmp_path), ADA, tell=print)
    assert asked == [("LocalDesk", tmp_path, ADA, print)]


def test_leases_of_a_service(asked, tmp_path):
    settings = settings_of("r2labapi", tmp_path)
    open_desk(settings, ADA, "ada@example.org", "secret")
    open_desk(settings, ADA)
    assert asked == [
        ("RemoteDesk", settings, "ada@example.org", "secret"),
        ("RemoteDesk", settings, "", ""),
    ]


def test_no_leases(asked, tmp_path):
    words = r"\Ano leases are kept here: backend is none in \[leases\]\Z"
    with pytest.raises(LeaseError, match=words):
        open_desk(settings_of("none", tmp_path), ADA)
    assert asked == []
