"""What is missing on this machine is said in one line."""

import pytest

from rhubarbe.annexe.errors import MissingProgram
from rhubarbe.testbed import programs


def test_all_that_is_missing_in_one_line(monkeypatch):
    monkeypatch.setattr(programs, "locate", lambda name: None)
    monkeypatch.setattr(programs.os, "geteuid", lambda: 1000)
    with pytest.raises(MissingProgram) as raised:
        programs.require(("ip", "unshare", "setpriv", "sshd"), root=True, what="--hosts")
    assert str(raised.value) == (
        "--hosts needs root, and packages: apt-get install --no-install-recommends"
        " iproute2 util-linux openssh-server"
    )


def test_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(programs, "locate", lambda name: f"/bin/{name}")
    monkeypatch.setattr(programs.os, "geteuid", lambda: 0)
    programs.require(("ip", "sshd"), root=True, what="--hosts")
