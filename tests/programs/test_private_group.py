"""A user with Debian 13's umask, among the users of a machine: OpenSSH and we trust the same files.

The machine's real list of users is another one in a mount namespace of the command's own.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")

ADA = 4021
BEGIN = """
mount --bind passwd /etc/passwd && mount --bind group /etc/group || exit 99
export HOME="$PWD/home"
cd home && umask 002 && exec "$@"
"""
# It may read what it needs, such as Python; writing is another matter.
BECOME_ADA = (
    *("setpriv", f"--reuid={ADA}", f"--regid={ADA}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    *("--securebits=+no_setuid_fixup", "--"),
)
MAKE = """
mkdir -p .ssh
echo Compression yes > .ssh/config
printf '[networking]\nbandwidth = 77\n' > rhubarbe.conf
ln -s rhubarbe.conf link.conf
"""


class Machine:
    """Its users and groups, and ada's home."""

    def __init__(self, top, bob_s_group, members, called="ada"):
        self.top = top
        root = "root:x:0:0:root:/root:/bin/sh"
        ada = f"ada:x:{ADA}:{ADA}::{top}/home:/bin/sh"
        bob = f"bob:x:4022:{bob_s_group}::/:/bin/sh"
        (top / "passwd").write_text(f"{root}\n{ada}\n{bob}\n")
        (top / "group").write_text(f"root:x:0:\n{called}:x:{ADA}:{members}\nbob:x:4022:\n")
        (top / "home").mkdir(mode=0o755)
        os.chown(top / "home", ADA, ADA)
        assert self.run("sh", "-ec", MAKE).returncode == 0

    def run(self, *command):
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", BEGIN, "sh", *BECOME_ADA, *command],
            cwd=self.top,
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def does_ssh_trust(self):
        """Whether OpenSSH takes a file that ada has made; None where there is none of Debian's."""
        if not shutil.which("ssh"):
            return None
        done = self.run("ssh", "-G", "node")
        assert ("Bad owner or permissions" in done.stderr) == (done.returncode != 0)
        return done.returncode == 0


@pytest.mark.parametrize("members", ["", "ada"])
def test_who_is_alone_in_a_group_is_trusted(tmp_path, members):
    machine = Machine(tmp_path, 4022, members)
    assert (tmp_path / "home" / "rhubarbe.conf").stat().st_mode & 0o777 == 0o664
    assert "bandwidth = 77" in machine.run("rhubarbe-config", "networking").stdout
    by_a_link = machine.run("env", "RHUBARBE_CONF=link.conf", "rhubarbe-config", "networking")
    assert "bandwidth = 77" in by_a_link.stdout
    assert machine.does_ssh_trust() in (True, None)


@pytest.mark.parametrize(("bob_s_group", "members"), [(4022, "bob"), (4022, "ada,bob"), (ADA, "")])
def test_who_is_not_is_told_what_to_do(tmp_path, bob_s_group, members):
    machine = Machine(tmp_path, bob_s_group, members)
    told = machine.run("rhubarbe-config").stderr
    cure = re.fullmatch(
        r".*rhubarbe\.conf: refused, because others can write it, .*; do: (.*)\n", told
    )
    assert cure is not None, told
    assert machine.does_ssh_trust() in (False, None)
    assert machine.run(*cure[1].split()).returncode == 0
    assert "bandwidth = 77" in machine.run("rhubarbe-config", "networking").stdout


def test_a_group_for_many_is_nobody_s_though_only_one_is_listed(tmp_path):
    machine = Machine(tmp_path, 4022, "", called="users")
    assert "others can write it" in machine.run("rhubarbe-config").stderr
