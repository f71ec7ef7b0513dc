"""What is missing on this machine is said in one line."""

import pytest

from rhubarbe.testbed import programs
from rhubarbe.testbed.errors import MissingProgram


def test_all_that_is_missing_in_one_line(monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda name, path: None)
    monkeypatch.setattr(programs.os, "geteuid", lambda: 1000)
    with pytest.raises(MissingProgram) as raised:
        programs.require(("ip", "unshare", "setpriv", "sshd"), root=True, what="--hosts")
    assert str(raised.value) == (
        "--hosts needs root, and packages: apt-get install --no-install-recommends"
        " iproute2 util-linux openssh-server"
    )


def test_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda name, path: f"/bin/{name}")
    monkeypatch.setattr(programs.os, "geteuid", lambda: 0)
    programs.require(("ip", "sshd"), root=True, what="--hosts")
