"""A fresh gateway: pip installs rhubarbe, rhubarbe-setup does all else, and a user loads machines.

The gateway is a copy of this machine that is thrown away: an overlay in memory in namespaces of its
own, on the network of a testbed whose machines find nobody else to boot from.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import test_real_machines
from emulated import PrivateTestbed, start_testbed
from test_real_machines import UP_WITHIN, packages_wanted, told_by_machines

ROOT = Path(__file__).parents[2]
pytestmark = [
    *test_real_machines.pytestmark,
    pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs Debian's python3"),
]
BINARIES = "/opt/rhubarbe/bin"
PATH = f"{BINARIES}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Its root is this machine's, seen through a layer in memory that takes all that is written; its
# first process, like a true one, leaves no daemon dead and not waited for.
COPY = """\
base=$1 testbed=$2 checkout=$3
mount -t tmpfs -o size=2g tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
cd "$base/root"
for place in sys dev; do mount --rbind "/$place" "$place"; done
mount -t proc proc proc
mount -t tmpfs tmpfs run
for place in "$testbed" "$checkout"; do
    mkdir -p "./$place"
    mount --bind "$place" "./$place"
done
rm -rf etc/rhubarbe var/lib/rhubarbe* srv/tftp opt/rhubarbe
hostname gateway
exec chroot . env --ignore-signal=CHLD sleep infinity
"""
# The gateway has no way to the archive. By this machine's lists of packages, those of the ramdisk
# are kept here already; newer lists may tell of newer ones.
INSTALL = """\
umask 022
fetch() {
    apt-get -q -y install --download-only --no-install-recommends \\
        dnsmasq pxelinux syslinux-common
}
fetch || { apt-get -q update; fetch; }
/usr/bin/python3 -m venv /opt/rhubarbe
/opt/rhubarbe/bin/pip install --quiet "$1"
for user in alice mallory; do
    useradd --create-home --shell /bin/sh $user
done
"""
# What is not a machine's but emulation's.
LOCAL = "[nodes]\ntimeout_before_telnet = 200\nload_default_timeout = 600\n"


class Gateway:
    """Commands on it."""

    def __init__(self, holder, testbed):
        children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
        self._inside = ["nsenter", "--target", children[0], "--mount", "--uts", "--pid", "--root"]
        self.testbed = testbed

    def run(self, script, *words, is_out=False, within=300):
        """Run a script for a shell as root there; `is_out`: where Debian's packages are."""
        way = [] if is_out else [self.testbed.directory / "enter"]
        own = ["env", "--chdir=/root", "--unset=RHUBARBE_CONF", f"PATH={PATH}"]  # not the way's
        done = subprocess.run(
            [*way, *self._inside, *own, "sh", "-ec", script, "sh", *words],
            env={**kept_of_the_environment(), "PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within,
            check=False,
        )
        return done.returncode, done.stdout

    def well(self, script, *words, **options):
        code, said = self.run(script, *words, **options)
        assert code == 0, said
        return said

    def as_user(self, user, command, **options):
        """Run a command as a user who has just logged in."""
        return self.run('su - "$1" -c "PATH=$PATH $2"', user, command, **options)


def kept_of_the_environment():
    """By which ways pip and apt get at packages here."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_CERT")) or name.lower().endswith("_proxy")
    }


@pytest.fixture
def gateway(tmp_path):
    with packages_wanted():
        testbed = start_testbed(
            *(
                tmp_path / "testbed",
                "--machines",
                "2",
                "--no-boot-server",
                "--firmware",
                "bios,secureboot",
            ),
            kind=PrivateTestbed,
            ready_within=UP_WITHIN,
        )
    base = tmp_path / "gateway"
    base.mkdir()
    words = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
    with contextlib.ExitStack() as ends:
        ends.callback(testbed.end)
        holder = ends.enter_context(
            subprocess.Popen(
                [*words, "sh", "-ec", COPY, "sh", base, testbed.directory, ROOT],
                stdin=subprocess.DEVNULL,
            )
        )
        ends.callback(holder.kill)  # it heeds no other signal
        test_real_machines.wait_until(lambda: is_asleep(holder.pid), 30)
        gateway = Gateway(holder.pid, testbed)
        code, said = gateway.run(INSTALL, str(ROOT), is_out=True)
        if code:
            pytest.skip(f"Debian's packages, or PyPI's, cannot be had: {said[-300:]}")
        yield gateway
    shutil.rmtree(testbed.directory)


def is_asleep(holder):
    children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
    return bool(children) and Path(f"/proc/{children[0]}/comm").read_text() == "sleep\n"


@pytest.fixture
def inventory(gateway):
    """Of the machines, which have virtual disks."""
    path = gateway.testbed.directory / "inventory.json"
    nodes = json.loads(path.read_text())
    mine = path.with_name("mine.json")
    mine.write_text(json.dumps([node | {"disk": "/dev/vda"} for node in nodes]))
    return mine


def test_it_is_set_up_loads_as_a_user_and_is_undone(gateway, inventory):
    with told_by_machines(gateway.testbed):
        setup = f"rhubarbe-setup --inventory {inventory} --user alice --kernel cloud"
        what_is_shown_is_not_done(gateway, setup)
        what_is_done_is_not_done_again(gateway, setup)
        its_user_loads_and_another_does_not(gateway)
        what_was_made_is_undone(gateway)


def what_is_shown_is_not_done(gateway, setup):
    said = gateway.well(f"{setup} --dry-run")
    assert "the nodes are on br0 (10.77.0.1/16)" in said
    assert "nobody serves DHCP there" in said
    gateway.well("! getent group rhubarbe && ! ls /etc/rhubarbe /srv/tftp /etc/dnsmasq.d")


def what_is_done_is_not_done_again(gateway, setup):
    gateway.well(setup)
    said = gateway.well("rhubarbe-setup")
    assert said.splitlines()[-1] == "nothing to do: all is done", said
    assert not re.search("(?m)^(make|change|leave) ", said)
    # Whoever logs in finds the commands and their pages.
    gateway.well("su - alice -c 'PATH=/usr/local/bin:/usr/bin:/bin; rhubarbe-nodes -a'")
    gateway.well("test -e /usr/local/share/man/man1/rhubarbe-load.1")
    gateway.well("logrotate --force /etc/logrotate.d/rhubarbe || ! command -v logrotate")


def its_user_loads_and_another_does_not(gateway):
    where = gateway.testbed.directory
    gateway.well(f"cp -L {where}/images/sample.ndz /var/lib/rhubarbe-images/")
    gateway.well(f"install -D -o alice -m 600 {where}/id_ed25519 /home/alice/.ssh/id_ed25519")
    gateway.well('printf "$1" > /etc/rhubarbe/rhubarbe.conf.local', LOCAL)
    code, said = gateway.as_user("alice", "rhubarbe-doctor")
    assert code == 0, said
    code, said = gateway.as_user("mallory", "rhubarbe-load -i sample 1-2")
    assert code == 1, said
    assert "ramdisk" not in said
    code, said = gateway.as_user("alice", "rhubarbe-load -i sample --wait 1-2", within=700)
    assert code == 0, said + gateway.well("cat /var/log/rhubarbe/dnsmasq.log")
    assert len(re.findall("up for .*, runs: .* image sample", said)) == 2, said
    served = gateway.well("cat /var/log/rhubarbe/dnsmasq.log")
    for name, address in (("pxelinux.0", "10.77.1.2"), ("shimx64.efi", "10.77.1.3")):
        assert f"sent /srv/tftp/{name} to {address}" in served


def what_was_made_is_undone(gateway):
    gateway.well("rm /etc/rhubarbe/rhubarbe.conf.local")
    code, said = gateway.run("rhubarbe-setup --undo")
    assert code == 1
    left = re.findall(r"(?m)^leave  (\S+) ", said)
    kept = ["/var/log/rhubarbe/", "/var/lib/rhubarbe-images/", "/var/lib/rhubarbe/", "group"]
    assert left == kept, said
    gateway.well("! ls /etc/rhubarbe /srv/tftp /etc/dnsmasq.d /usr/local/bin/rhubarbe-load")
    gateway.well("! pidof dnsmasq")
    gateway.well("! dpkg-query -s dnsmasq")
