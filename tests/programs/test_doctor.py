"""What is broken one by one is found, each on the right line, and the repair that is told works.

The site is an emulated testbed, with dnsmasq as its TFTP server.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from emulated import BIN, Testbed, start_testbed, wait_until

from rhubarbe.bus import Bus
from rhubarbe.cli import doctor
from rhubarbe.doctor.examine import examine
from rhubarbe.events import Finished, Health, Started

pytestmark = [
    pytest.mark.testbed,
    pytest.mark.full,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can break all of this"),
]

# Of this process only: another run may be going on beside.
TFTP = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.6"
ENTRY = "DEFAULT ramdisk\nLABEL ramdisk\nKERNEL vmlinuz\nAPPEND initrd=initrd quiet\n"
# Another user, who may read Python below /root.
USER = 4007
BECOME_ANOTHER = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    *("--securebits=+no_setuid_fixup", "--"),
)
# What root does to accounts of the system is done to a copy of them.
WITH_OTHER_ACCOUNTS = (
    "mount -t tmpfs tmpfs {0} && mkdir {0}/u {0}/w"
    " && mount -t overlay overlay -o lowerdir=/etc,upperdir={0}/u,workdir={0}/w /etc"
)
QUIET = {"clock"}  # whether it is synchronised, is the host's business


@dataclass
class Clinic:
    """A testbed whose boot entries are served by TFTP, to be broken and repaired."""

    testbed: Testbed
    ends: ExitStack = field(default_factory=ExitStack)
    dnsmasq: subprocess.Popen | None = None

    @property
    def top(self):
        return self.testbed.directory

    @property
    def links(self):
        return self.top / "tftp" / "pxelinux.cfg"

    def serve(self, root=None, *options):
        """Have dnsmasq serve a directory, as one who may read what all may."""
        self.silence()
        self.dnsmasq = subprocess.Popen(
            [
                *("dnsmasq", "-k", "-C", "/dev/null", "-p", "0", "--enable-tftp"),
                *(f"--tftp-root={root or self.top / 'tftp'}", f"--listen-address={TFTP}"),
                *("--bind-interfaces", "--user=nobody", "--pid-file=", *options),
            ],
            stderr=subprocess.PIPE,
        )
        wait_until(
            lambda: self.dnsmasq.poll() is not None or not is_free(socket.SOCK_DGRAM, TFTP, 69)
        )
        assert self.dnsmasq.poll() is None, self.dnsmasq.stderr.read()

    def silence(self):
        if self.dnsmasq is not None:
            self.dnsmasq.terminate()
            self.dnsmasq.communicate(timeout=10)
            self.dnsmasq = None

    def configure(self, **changes):
        """Set values of sections: `networking__ssh_key="x"`; empty ones too."""
        conf = self.top / "rhubarbe.conf"
        text = conf.read_text()
        for name, value in changes.items():
            section, _, key = name.partition("__")
            text = re.sub(rf"(?m)^{key} = .*\n", "", text)
            if f"[{section}]" not in text:
                text += f"\n[{section}]\n"
            text = text.replace(f"[{section}]\n", f"[{section}]\n{key} = {value}\n")
        conf.write_text(text)

    def examined(self, *checks):
        """Return what is wrong, and all findings; in this process, which is quicker."""
        arguments = argparse.Namespace(nodes=[], all_nodes=False)
        bus, found = Bus(), []

        async def work():
            events = bus.subscribe()
            await examine(doctor.reading(arguments), checks or doctor.NAMES, 3.0, bus)
            bus.close()
            return [event async for event in events]

        started, *found, finished = asyncio.run(work())
        assert (type(started), type(finished)) == (Started, Finished)
        wrong = [each for each in found if each.health is Health.WRONG]
        assert finished.exit_code == (1 if wrong else 0)
        return [each for each in wrong if each.check not in QUIET], found

    def program(self, *words, prefix=(), **environ):
        """Return the findings of the program."""
        done = self.testbed.run(
            *prefix, "rhubarbe-doctor", "--json", "-t", "3", *words,
            RHUBARBE_CONF=str(self.top / "rhubarbe.conf"), **environ,
        )  # fmt: skip
        assert done.stderr == "", done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert (told[0]["event"], told[-1]["event"]) == ("Started", "Finished")
        assert done.returncode == told[-1]["exit_code"]
        return [each for each in told if each["event"] == "Finding"]

    def inventory(self):
        return json.loads((self.top / "inventory.json").read_text())

    def write_inventory(self, entries):
        (self.top / "inventory.json").write_text(json.dumps(entries))

    def repair(self, finding):
        """Do as root what a finding says; what it does to accounts, to a copy of them."""
        if "groupadd" not in finding.repair:
            subprocess.run(["sh", "-ec", finding.repair], check=True, cwd=self.top, input="")
            return
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(
                [
                    *("unshare", "-m", "--propagation", "private", "sh", "-ec"),
                    f"{WITH_OTHER_ACCOUNTS.format(place)}\n{finding.repair}",
                ],
                check=True,
                cwd=self.top,
                capture_output=True,
                text=True,
            )


def is_free(kind, address, port):
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The site as it should be, kept to be restored."""
    top = Path(tempfile.mkdtemp(prefix="rhubarbe-doctor-"))
    top.chmod(0o755)
    testbed = start_testbed(top / "bed", "--nodes", "3", "--sample-size", "4")
    clinic = Clinic(testbed)
    tree = clinic.top / "tftp"
    tree.mkdir()
    shutil.copytree(clinic.top / "pxelinux.cfg", clinic.links)
    (clinic.links / "pxefrisbee").write_text(ENTRY)
    for name in ("vmlinuz", "initrd"):
        (tree / name).write_bytes(bytes(4096))
    for path, mode in ((tree, 0o755), (clinic.links, 0o755), (clinic.top, 0o755)):
        path.chmod(mode)
    leases = clinic.top / "leases"
    leases.write_text(
        "".join(
            f"1764380000 {entry['control']['mac'].lower()} {entry['control']['ip']} fit *\n"
            for entry in clinic.inventory()
        )
    )
    clinic.configure(
        pxelinux__config_dir=clinic.links,
        pxelinux__tftp_server=TFTP,
        networking__dhcp_leases=leases,
    )
    clinic.serve()
    yield clinic
    clinic.silence()
    testbed.end()
    shutil.rmtree(top)


@pytest.fixture
def clinic(whole, monkeypatch):
    """The site, restored after each test."""
    monkeypatch.setenv("RHUBARBE_CONF", str(whole.top / "rhubarbe.conf"))
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(whole.top))
    monkeypatch.chdir(whole.top)
    kept = ("rhubarbe.conf", "inventory.json", "tftp", "id_ed25519", "leases", "state", "images")
    with tempfile.TemporaryDirectory() as place:
        for name in kept:
            subprocess.run(["cp", "-a", whole.top / name, place], check=True)
        with ExitStack() as ends:
            whole.ends = ends
            yield whole
        for name in kept:
            subprocess.run(["rm", "-rf", whole.top / name], check=True)
            subprocess.run(["cp", "-a", Path(place) / name, whole.top], check=True)
    whole.top.chmod(0o755)
    if whole.dnsmasq is None:
        whole.serve()


def test_all_is_well(clinic):
    wrong, found = clinic.examined()
    assert wrong == []
    texts = {each.text for each in found}
    assert f"{TFTP} serves {clinic.links}/pxefrisbee as pxelinux.cfg/pxefrisbee" in texts
    assert {"vmlinuz is served", "initrd is served"} <= texts
    assert any(text.endswith("out and back") for text in texts)
    assert not [path for path in clinic.links.iterdir() if path.name.startswith(("01-", "."))]


def test_what_a_person_reads(clinic):
    (clinic.top / "images").chmod(0o777)
    done = clinic.testbed.run(
        "rhubarbe-doctor", "-k", "images", "-k", "ports",
        RHUBARBE_CONF=str(clinic.top / "rhubarbe.conf"),
    )  # fmt: skip
    assert done.returncode == 1
    head, repair, *ports, verdict = done.stdout.splitlines()
    assert head.startswith("WRONG  images         ")
    assert repair.strip() == f"as root: chmod +t {clinic.top}/images"
    assert [line[:12] for line in ports] == ["ok     ports"] * 2
    assert verdict == "rhubarbe-doctor: 1 thing is wrong"


# Who breaks what, which checks tell of it, in which words, and whether the repair can be done here.
BROKEN = {}


def broken(*checks, says, repairs=True):
    """Note a function that breaks one thing."""

    def note(breaks):
        BROKEN[breaks.__name__] = (breaks, set(checks), says, repairs)
        return breaks

    return note


@broken("configuration", says="others can write it")
def conf_for_all_to_write(clinic):
    (clinic.top / "rhubarbe.conf").chmod(0o666)


@broken("configuration", says="did you mean images_dir", repairs=False)
def conf_with_a_wrong_key(clinic):
    clinic.configure(frisbee__image_dir="/x")


@broken("inventory", says="expected a MAC address", repairs=False)
def inventory_with_a_wrong_mac(clinic):
    entries = clinic.inventory()
    entries[1]["control"]["mac"] = "02:00"
    clinic.write_inventory(entries)


@broken("inventory", says="there is no kind", repairs=False)
def inventory_with_a_kind_that_there_is_not(clinic):
    entries = clinic.inventory()
    entries[1]["power"] = {"kind": "lever"}
    clinic.write_inventory(entries)


@broken("inventory", says="no such inventory", repairs=False)
def no_inventory(clinic):
    (clinic.top / "inventory.json").unlink()


@broken("state", says="No such file or directory (state_dir")
def no_state_dir(clinic):
    shutil.rmtree(clinic.top / "state")


@broken("state", says="anybody could remove anything there")
def state_dir_without_sticky_bit(clinic):
    (clinic.top / "state").chmod(0o777)


@broken("state", says="only root can note anything there")
def state_dir_for_root_only(clinic):
    (clinic.top / "state").chmod(0o755)


@broken("links", says="No such file or directory (frisbee_image and config_dir", repairs=False)
def no_config_dir(clinic):
    shutil.rmtree(clinic.links)


@broken("links", says="anybody can make nodes boot anything")
def config_dir_for_all_to_write(clinic):
    clinic.links.chmod(0o1777)


@broken("links", says="nobody but root can remove another's dead link")
def config_dir_with_sticky_bit(clinic):
    clinic.links.chmod(0o3775)


@broken("links", says="belongs to uid 4007")
def config_dir_of_another(clinic):
    os.chown(clinic.links, USER, 0)


@broken("links", says="is not a link that rhubarbe made")
def directory_in_the_place_of_a_link(clinic):
    mac = clinic.inventory()[0]["control"]["mac"].lower().replace(":", "-")
    (clinic.links / f"01-{mac}").mkdir()


@broken("links", says="is not a link that rhubarbe made")
def boot_file_in_the_place_of_a_link(clinic):
    mac = clinic.inventory()[0]["control"]["mac"].lower().replace(":", "-")
    (clinic.links / f"01-{mac}").write_text("DEFAULT memtest\n")


@broken("links", says="is on a disk that is mounted to be read only")
def config_dir_mounted_read_only(clinic):
    kept = clinic.top / "kept"
    subprocess.run(["cp", "-a", clinic.links, kept], check=True)
    mount(clinic, clinic.links, "-t", "tmpfs", "-o", "mode=755", "tmpfs")
    subprocess.run(["cp", "-a", f"{kept}/.", clinic.links], check=True)
    shutil.rmtree(kept)
    subprocess.run(["mount", "-o", "remount,ro", clinic.links], check=True)


@broken("boot-entries", says="which is not there")
def link_that_leads_nowhere(clinic):
    mac = clinic.inventory()[0]["control"]["mac"].lower().replace(":", "-")
    (clinic.links / f"01-{mac}").symlink_to("pxeold")


@broken("boot-entries", says="no such boot entry", repairs=False)
def no_boot_entry(clinic):
    (clinic.links / "pxefrisbee").unlink()


@broken("boot-entries", "tftp", says="only root and its group can read it")
def boot_entry_for_root_only(clinic):
    (clinic.links / "pxefrisbee").chmod(0o600)


@broken("tftp", says="which {links}/pxefrisbee names", repairs=False)
def no_kernel(clinic):
    (clinic.top / "tftp" / "vmlinuz").unlink()


@broken("boot-entries", "tftp", says="only root and its group can read it")
def initrd_for_root_only(clinic):
    (clinic.top / "tftp" / "initrd").chmod(0o600)


@broken("boot-entries", "tftp", says="is empty", repairs=False)
def empty_initrd(clinic):
    (clinic.top / "tftp" / "initrd").write_bytes(b"")


@broken("tftp", says="does not serve")
def tree_that_may_not_be_entered(clinic):
    (clinic.top / "tftp").chmod(0o750)


@broken("tftp", says="does not answer over TFTP", repairs=False)
def no_tftp_server(clinic):
    clinic.silence()


@broken("tftp", says="does not serve", repairs=False)
def tftp_server_of_another_tree(clinic):
    (clinic.top / "other").mkdir(mode=0o755, exist_ok=True)
    clinic.serve(clinic.top / "other")
    clinic.ends.callback(clinic.silence)


@broken("tftp", says="is another file", repairs=False)
def tftp_server_of_an_older_tree(clinic):
    shutil.copytree(clinic.top / "tftp", clinic.top / "old", dirs_exist_ok=True)
    (clinic.top / "old/pxelinux.cfg/pxefrisbee").write_text("DEFAULT local\n")
    clinic.serve(clinic.top / "old")
    clinic.ends.callback(clinic.silence)


@broken("dhcp", says="in the inventory", repairs=False)
def node_with_another_lease(clinic):
    leases = clinic.top / "leases"
    text = leases.read_text()
    leases.write_text(text.replace(clinic.inventory()[1]["control"]["ip"], "192.0.2.9"))


@broken("dhcp", says="is leased to", repairs=False)
def address_leased_to_another(clinic):
    leases = clinic.top / "leases"
    mac = clinic.inventory()[1]["control"]["mac"].lower()
    leases.write_text(leases.read_text().replace(mac, "02:00:00:00:00:99"))


@broken("network", says="is not ours", repairs=False)
def local_control_ip_of_another(clinic):
    clinic.configure(networking__local_control_ip="192.0.2.1")


@broken("ports", says="no UDP port from 21001 to 21001 is free", repairs=False)
def port_that_another_has(clinic):
    clinic.configure(networking__pattern_size="1", networking__pattern_port="21000 + *")
    taken = clinic.ends.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    taken.bind(("", 21001))


@broken("programs", says="no such program on this gateway", repairs=False)
def no_image_server(clinic):
    clinic.configure(frisbee__server="frisbeed-of-old")


@broken("ssh-key", says="ssh_key in [networking]")
def no_ssh_key(clinic):
    (clinic.top / "id_ed25519").unlink()


@broken("ssh-key", says="known_hosts in [networking]", repairs=False)
def no_known_hosts(clinic):
    clinic.configure(networking__known_hosts=clinic.top / "nowhere")


@broken("power", says="fit02: power control reboot02", repairs=False)
def power_control_elsewhere(clinic):
    entries = clinic.inventory()
    entries[1]["cmc"]["ip"] = "127.88.7.7"
    clinic.write_inventory(entries)


@broken("leases", says="reservation service", repairs=False)
def reservation_service_away(clinic):
    clinic.configure(
        r2labapi__url="http://127.0.0.1:9", r2labapi__resource_name="x", leases__backend="r2labapi"
    )


@broken("disk-space", says="one more image may take", repairs=False)
def disk_of_images_full(clinic):
    mount(clinic, clinic.top / "images", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs")


@broken("images", says="anybody could remove anything there")
def images_dir_for_all_to_write(clinic):
    (clinic.top / "images").chmod(0o777)


def mount(clinic, place, *words):
    subprocess.run(["mount", *words, place], check=True)
    clinic.ends.callback(subprocess.run, ["umount", "-l", place], check=True)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_repaired(clinic, name):
    breaks, checks, says, can_be_repaired = BROKEN[name]
    breaks(clinic)
    wrong, _ = clinic.examined()
    assert {each.check for each in wrong} == checks, wrong
    assert says.format(links=clinic.links) in wrong[0].text
    assert all(each.repair or each.advice for each in wrong), wrong
    if can_be_repaired:
        for each in wrong:
            clinic.repair(each)
        assert clinic.examined()[0] == []


AS_ALICE = """
PATH=$PATH:/usr/sbin
{mounts}
useradd -u {user} alice
touch {place}/report
{before}
alice() {{ setpriv {becoming} --init-groups {caps} -- "$@"; }}
doctor() {{ alice env -C {home} HOME={home} rhubarbe-doctor --json -k links -k state || true; }}
doctor | tee {place}/told
python3 -c '
import json, sys
for line in open(sys.argv[1]):
    print(json.loads(line).get("repair", ""))
' {place}/told > {place}/repairs
sh -e {place}/repairs
doctor
"""


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("chmod 755 {links}; chgrp 0 {links}", "you cannot make nextboot links there"),
        ("groupadd -g 4999 loaders; chgrp loaders {links}; chmod 2775 {links}", "group loaders"),
    ],
)
def test_an_ordinary_user_becomes_one_of_those_who_may_load(clinic, before, says):
    home = clinic.top / "home"
    home.mkdir()
    clinic.ends.callback(shutil.rmtree, home)
    os.chown(home, USER, USER)
    with tempfile.TemporaryDirectory() as place:
        script = AS_ALICE.format(
            mounts=WITH_OTHER_ACCOUNTS.format(place).replace(" && ", "\n"),
            before=before.format(links=clinic.links),
            becoming=f"--reuid={USER} --regid={USER}",
            caps=" ".join(BECOME_ANOTHER[4:-1]),
            user=USER,
            home=home,
            place=place,
        )
        words = ("unshare", "-m", "--propagation", "private", "sh", "-ec", script)
        done = clinic.testbed.run(*words, RHUBARBE_CONF=str(clinic.top / "rhubarbe.conf"))
    found = [json.loads(line) for line in done.stdout.splitlines() if '"Finding"' in line]
    assert [each["health"] for each in found] == ["ok", "wrong", "ok", "ok"], done
    assert says in found[1]["text"]
    assert found[1]["repair"].endswith(" alice")


def test_a_limit_of_open_files(clinic):
    (one,) = clinic.program("-k", "open-files", prefix=("prlimit", "--nofile=30:30"))
    assert one["text"].startswith("33 open files are needed for 3 nodes")
    assert one["repair"] == "echo '* hard nofile 65536' >> /etc/security/limits.d/rhubarbe.conf"
    (one,) = clinic.program("-k", "open-files")
    assert one["health"] == "ok"


def test_a_clock_that_is_behind(clinic):
    prefix = ("env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "2001-02-03 04:05:06")
    (one,) = clinic.program("-k", "clock", prefix=prefix)
    assert one["text"].startswith("it is 2001-02-03 04:05")


@pytest.mark.parametrize(("says", "is_well"), [("yes", True), ("no", False)])
def test_a_clock_that_nobody_keeps(clinic, tmp_path, monkeypatch, says, is_well):
    keeper = tmp_path / "timedatectl"
    keeper.write_text(f"#!/bin/sh\necho {says}\n")
    keeper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (one,) = clinic.examined("clock")[1]
    assert (one.health is Health.OK) is is_well
    assert one.repair == ("" if is_well else "timedatectl set-ntp true")


IN_A_NETWORK = """
ip link set lo up
iptables -A {chain} -d 224.0.0.0/4 -j DROP
doctor() {{ rhubarbe-doctor --json -t 3 -k multicast || true; }}
doctor | tee {place}/told
python3 -c '
import json, sys
for line in open(sys.argv[1]):
    print(json.loads(line).get("repair", ""))
' {place}/told > {place}/repairs
sh -e {place}/repairs
doctor
"""


@pytest.mark.parametrize("chain", ["INPUT", "OUTPUT"])
def test_multicast_that_a_filter_drops(clinic, tmp_path, chain):
    """The repair lets it pass again, in a network of its own."""
    script = IN_A_NETWORK.format(chain=chain, place=tmp_path)
    done = clinic.testbed.run(
        "unshare", "-n", "sh", "-ec", script, RHUBARBE_CONF=str(clinic.top / "rhubarbe.conf")
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if '"Finding"' in line]
    assert [each["health"] for each in found] == ["wrong", "ok"], done


def test_broken_cards_are_named(make_testbed):
    faults = {1: "card-dead", 2: "card-silent", 3: "card-500"}
    words = [w for node, fault in faults.items() for w in ("--fault", f"fit{node:02}:{fault}")]
    testbed = make_testbed("--nodes", "6", "--sample-size", "4", *words)
    done = testbed.run("rhubarbe-doctor", "--json", "-k", "power")
    found = [json.loads(line) for line in done.stdout.splitlines() if '"Finding"' in line]
    good, *wrong = [each["text"] for each in found]
    assert good == "that of nodes 4-6 answers; on: 4-6"
    assert [text.partition(":")[0] for text in wrong] == ["fit01", "fit02", "fit03"]
