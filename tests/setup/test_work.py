"""A machine is set up, set up again, and all of it undone: what others made or changed stays."""

import contextlib
import os
import re
import shutil
import stat
from pathlib import Path

import pytest
from gateway_root import WHERE

from rhubarbe.cli.dispatch import main
from rhubarbe.config.layers import load_site_settings
from rhubarbe.errors import GatewayError
from rhubarbe.setup.files import Links, undo_links
from rhubarbe.setup.machine import Machine
from rhubarbe.setup.programs import Packages
from rhubarbe.setup.record import Record
from rhubarbe.setup.step import DONE, MAKE, CannotUndo
from rhubarbe.shared.trust import Distrust

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files to a group")

MADE = {
    "etc/rhubarbe": 0o755,
    "var/lib/rhubarbe": 0o1777,
    "var/lib/rhubarbe-images": 0o1775,
    "srv/tftp": 0o755,
    "srv/tftp/pxelinux.cfg": 0o2775,
    "srv/tftp/grub": 0o2775,
    "srv/tftp/ipxe": 0o2775,
    "etc/rhubarbe/rhubarbe.conf": 0o644,
    "etc/rhubarbe/inventory.json": 0o644,
    "etc/rhubarbe/dnsmasq.hosts": 0o644,
    "etc/dnsmasq.d/rhubarbe.conf": 0o644,
    "etc/logrotate.d/rhubarbe": 0o644,
    "etc/systemd/system/dnsmasq.service.d/rhubarbe.conf": 0o644,
    "srv/tftp/pxelinux.0": 0o644,
    "srv/tftp/chain.c32": 0o644,
    "srv/tftp/pxelinux.cfg/default": 0o644,
    "srv/tftp/vmlinuz": 0o644,
    "srv/tftp/pxelinux.cfg/pxefrisbee": 0o644,
    "srv/tftp/grub/pxefrisbee": 0o644,
    "srv/tftp/ipxe/pxefrisbee.ipxe": 0o644,
}
FILES = [name for name, mode in MADE.items() if mode == 0o644]
LINKS = tuple(f"srv/tftp/{name}" for name in ("pxelinux.cfg", "grub", "ipxe"))
FOR_THE_GROUP = ("var/lib/rhubarbe-images", *LINKS)
# Of the ramdisk's entries, what some site never boots by.
MAY_LACK = ("srv/tftp/grub/pxefrisbee", "srv/tftp/ipxe/pxefrisbee.ipxe")


def made(root):
    """Set it up, and return what was said."""
    code, said = root.setup("--user", "alice")
    assert code == 0, said
    return said


def test_a_bare_machine_becomes_a_gateway(root):
    made(root)
    for name, mode in MADE.items():
        assert stat.S_IMODE((root / name).stat().st_mode) == mode, name
    gid, members = root.groups()["rhubarbe"]
    assert members == "alice"
    for name in FOR_THE_GROUP:
        assert (root / name).stat().st_gid == int(gid), name
    for name in FILES:
        assert (root / name).stat().st_uid == 0


def test_it_is_made_whatever_the_umask(root):
    before = os.umask(0o077)
    try:
        made(root)
    finally:
        os.umask(before)
    for name, mode in MADE.items():
        assert stat.S_IMODE((root / name).stat().st_mode) == mode, name


def test_a_ramdisk_of_before_without_ipxe_s_script_is_one(root):
    shutil.rmtree(root.ramdisk / "ipxe")
    made(root)
    assert list((root / "srv/tftp/ipxe").iterdir()) == []


def test_where_ipxe_s_links_are_is_configured(root):
    made(root)
    conf = (root / "etc/rhubarbe/rhubarbe.conf").read_text()
    assert "\nconfig_dir = /srv/tftp/ipxe\n" in conf
    settings = load_site_settings(root.path)
    assert settings.ipxe.config_dir == Path("/srv/tftp/ipxe")
    (root / "etc/rhubarbe/rhubarbe.conf").write_text(conf.replace("/srv/tftp/ipxe", "/srv/www/x"))
    code, said = root.setup()
    assert code == 0, said
    assert stat.S_IMODE((root / "srv/www/x").stat().st_mode) == 0o2775


def test_a_second_run_changes_nothing_and_says_so(root):
    made(root)
    before = root.everything()
    code, said = root.setup("--user", "alice")
    assert (code, said.splitlines()[-1]) == (0, "nothing to do: all is done")
    assert root.everything() == before
    code, said = root.setup(where=())  # where the nodes are was said before
    assert (code, said.splitlines()[-1]) == (0, "nothing to do: all is done")
    assert root.everything() == before


def test_what_would_be_done_is_shown_and_nothing_done(root):
    before = root.everything()
    code, said = root.setup("--user", "alice", "--dry-run")
    assert code == 0
    assert root.everything() == before
    assert "port=0" in said
    assert "config_dir = /srv/tftp/pxelinux.cfg" in said
    assert said.count("\nmake ") == int(re.search(r"(?m)^(\d+) of \d+ steps to do$", said)[1])


def test_all_of_it_is_undone(root):
    before, groups = root.everything(), root.groups()
    made(root)
    code, said = root.undo("--dry-run")
    assert code == 0
    assert "undo   /etc/dnsmasq.d/rhubarbe.conf" in said
    assert (root / "etc/dnsmasq.d/rhubarbe.conf").exists()
    code, said = root.undo()
    assert (code, re.findall("(?m)^leave.*", said)) == (0, [])
    left = {name: it for name, it in root.everything().items() if name not in before}
    assert {name for name in left if not stat.S_ISDIR(left[name][0])} == set()
    # These may be anybody's by now.
    assert set(left) <= {"etc/logrotate.d", "etc/systemd", "etc/systemd/system", "srv", "var/log"}
    assert root.groups() == groups
    assert root.undo() == (0, "nothing to undo: rhubarbe-setup has made nothing here\n")


@pytest.mark.parametrize("name", FILES)
def test_what_was_changed_by_hand_stays(root, name):
    made(root)
    with (root / name).open("a") as file:
        file.write("\n# mine\n" if not name.endswith("json") else "\n")
    before = root.everything()
    code, said = root.setup()
    assert (code, root.everything()) == (0, before)
    code, said = root.undo()
    assert code == 1
    assert re.search(rf"(?m)^leave  /{name} \(changed by hand", said)
    assert root.everything()[name] == before[name]


@pytest.mark.parametrize("name", [name for name in FILES if name not in MAY_LACK])
def test_what_was_removed_by_hand_is_made_again(root, name):
    made(root)
    before = (root / name).read_bytes()
    (root / name).unlink()
    code, said = root.setup()
    assert (code, (root / name).read_bytes()) == (0, before), said


@pytest.mark.parametrize("name", ["var/lib/rhubarbe", *FOR_THE_GROUP])
def test_a_mode_that_was_changed_by_hand_stays(root, name):
    made(root)
    (root / name).chmod(0o750)
    code, said = root.setup()
    assert code == 0
    assert re.search(rf"(?m)^leave  /{name}/ .*changed since: 0750", said)
    assert stat.S_IMODE((root / name).stat().st_mode) == 0o750


def test_what_is_in_a_directory_stays_and_so_does_its_group(root):
    made(root)
    (root / "var/lib/rhubarbe-images/mine.ndz").write_text("an image")
    code, said = root.undo()
    assert code == 1
    assert "leave  /var/lib/rhubarbe-images/ (is not empty: 1 in it)" in said
    assert "leave  group rhubarbe (what is left is for it)" in said
    assert (root / "var/lib/rhubarbe-images/mine.ndz").exists()
    assert "rhubarbe" in root.groups()


def test_a_group_that_others_are_in_stays(root):
    made(root)
    root.write("etc/passwd", (root / "etc/passwd").read_text() + "bob:x:4002:4002::/:/bin/sh\n")
    text = (root / "etc/group").read_text()
    (root / "etc/group").write_text(text.replace(":alice\n", ":alice,bob\n"))
    code, said = root.undo()
    assert code == 1
    assert "leave  group rhubarbe (there are others in it: bob)" in said


def test_directories_that_were_there_get_the_group_and_give_it_back(root):
    for name in FOR_THE_GROUP:
        (root / name).mkdir(parents=True)
        (root / name).chmod(0o755)
    before = {name: root.everything()[name] for name in FOR_THE_GROUP}
    code, said = root.setup()
    assert code == 0
    assert "change /srv/tftp/pxelinux.cfg/" in said
    assert stat.S_IMODE((root / "srv/tftp/pxelinux.cfg").stat().st_mode) == 0o2775
    code, said = root.undo()
    assert code == 0, said
    assert {name: root.everything()[name] for name in FOR_THE_GROUP} == before


def test_a_directory_of_another_group_stays_its(root):
    (root / "srv/tftp/pxelinux.cfg").mkdir(parents=True)
    os.chown(root / "srv/tftp/pxelinux.cfg", 0, 4001)
    (root / "srv/tftp/pxelinux.cfg").chmod(0o2775)
    code, said = root.setup()
    assert code == 0
    assert re.search(
        "(?m)^leave  /srv/tftp/pxelinux.cfg/ .* for a group already: 2775 root:al", said
    )
    assert (root / "srv/tftp/pxelinux.cfg").stat().st_gid == 4001


def test_a_user_s_directory_is_told_with_the_cure(root):
    (root / "var/lib/rhubarbe-images").mkdir(parents=True)
    os.chown(root / "var/lib/rhubarbe-images", 4001, 4001)
    code, said = root.setup()
    assert code == 0
    assert "do by hand: chown root /var/lib/rhubarbe-images" in said


def test_where_a_step_fails_the_next_run_goes_on_and_undo_knows_it(root):
    aside = root.ramdisk.with_name("aside")
    root.ramdisk.rename(aside)
    root.ramdisk.mkdir()
    before = root.everything()
    code, said = root.setup()
    assert code == 1
    assert said.splitlines()[-1].startswith("rhubarbe-setup: /srv/tftp/vmlinuz: the ramdisk has no")
    aside.rename(root.ramdisk.with_name("whole"))
    shutil.rmtree(root.ramdisk)
    root.ramdisk.with_name("whole").rename(root.ramdisk)
    code, said = root.setup()
    assert code == 0
    assert "done   /etc/rhubarbe/rhubarbe.conf" not in said
    assert "done   /srv/tftp/vmlinuz, initrd and their entries" in said
    code, said = root.undo()
    assert (code, set(before) - set(root.everything())) == (0, set())


def test_a_link_that_a_member_laid_leads_root_nowhere(root):
    made(root)
    victim = root / "etc/passwd"
    before = victim.read_text()
    (root / "srv/tftp/pxelinux.cfg/default").unlink()
    (root / "srv/tftp/pxelinux.cfg/default").symlink_to(victim)
    os.chown(root / "srv/tftp/pxelinux.cfg/default", 4001, 4001, follow_symlinks=False)
    code, said = root.setup()
    assert code == 1
    assert "is a link that" in said.splitlines()[-1]
    assert victim.read_text() == before
    code, said = root.undo()
    assert victim.read_text() == before


def test_a_link_in_the_place_of_the_record_is_refused(root, tmp_path):
    tmp_path.chmod(0o700)
    (root / "var/lib/rhubarbe-setup").symlink_to(tmp_path)
    before = root.everything()
    code, said = root.setup()
    assert (code, root.everything()) == (1, before)
    assert "/var/lib/rhubarbe-setup: is a link" in said.splitlines()[-1]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def record(root):
    """What is noted of the machine, as long as a setup is at work."""
    made(root)
    kept = Record.read(Machine(root.path))
    with kept.held():
        yield kept


def test_links_are_laid_and_taken_away_where_no_stranger_leads(root, record):
    (root / "usr/local").mkdir(parents=True)
    (root / "elsewhere").mkdir()
    (root / "elsewhere/one").symlink_to("/opt/bin/one")
    (root / "usr/local/bin").symlink_to(root / "elsewhere")
    os.chown(root / "usr/local/bin", 4001, 4001, follow_symlinks=False)
    step = Links(Path("/usr/local/bin"), [Path("/opt/bin/two")], "commands")
    noted = {"path": "/usr/local/bin", "targets": {"one": "/opt/bin/one"}}
    for act in (step.look, step.do):
        with pytest.raises(Distrust, match="is a link that"):
            act(record.machine, record)
    with pytest.raises(Distrust, match="is a link that"):
        undo_links(record.machine, noted)
    assert [path.name for path in (root / "elsewhere").iterdir()] == ["one"]


def test_links_are_laid_and_those_of_others_stay(root, record):
    (root / "usr/local/bin").mkdir(parents=True)
    for name in ("mine", "ours"):
        (root / "usr/local/bin" / name).write_text("")
    targets = [Path("/opt/bin", name) for name in ("mine", "one", "two")]
    step = Links(Path("/usr/local/bin"), targets, "commands")
    assert step.look(record.machine, record) == MAKE
    step.do(record.machine, record)
    assert step.look(record.machine, record) == DONE
    assert (root / "usr/local/bin/one").readlink() == Path("/opt/bin/one")
    (root / "usr/local/bin/two").unlink()
    (root / "usr/local/bin/two").symlink_to("elsewhere")
    with pytest.raises(CannotUndo, match=r"since they were made: two\Z"):
        undo_links(record.machine, record.made["link /usr/local/bin"])
    left = sorted(path.name for path in (root / "usr/local/bin").iterdir())
    assert left == ["mine", "ours", "two"]


BUILDER = """\
#!/bin/sh
while [ "$1" != --output ]; do shift; done
stat -c '%n %a %u' "$2" > "$0.told"
mkdir "$2/pxelinux.cfg" "$2/grub"
cd "$2"
for name in vmlinuz initrd pxelinux.cfg/pxefrisbee grub/pxefrisbee; do echo "$name" > "$name"; done
"""


def test_a_ramdisk_is_made_where_nobody_else_can_write(root, tmp_path, monkeypatch):
    builder = tmp_path / "rhubarbe-ramdisk"
    builder.write_text(BUILDER)
    builder.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    code = main(["rhubarbe-setup", "--root", str(root.path), *WHERE])
    assert code == 0
    place, mode, owner = (tmp_path / "rhubarbe-ramdisk.told").read_text().split()
    assert (mode, owner) == ("700", "0")
    assert not Path(place).is_relative_to(root.path)
    assert not Path(place).exists()
    assert (root / "srv/tftp/grub/pxefrisbee").read_text() == "grub/pxefrisbee\n"


class Apt:
    """A machine whose apt ends so, one run after the other; "" is well."""

    def __init__(self, *ends):
        self._ends = list(ends)
        self.runs = []

    def installed(self, names):
        return []

    def run(self, *words, within_s=0.0):
        verb = next(word for word in words if word in ("--simulate", "install", "update"))
        self.runs.append(verb)
        if end := self._ends.pop(0):
            raise GatewayError(f"apt-get: {end}")
        return "Inst dnsmasq (1)\nInst dnsmasq-base (1)\n"


NO_LISTS = "E: Unable to locate package dnsmasq"
OLD_LISTS = "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?"
BROKEN = "E: Sub-process /usr/bin/dpkg returned an error code (1)"


@pytest.mark.parametrize(
    ("ends", "runs", "says"),
    [
        (["", ""], ["--simulate", "install"], ""),
        ([NO_LISTS, "", "", ""], ["--simulate", "update", "--simulate", "install"], ""),
        (
            ["", OLD_LISTS, "", "", ""],
            ["--simulate", "install", "update", "--simulate", "install"],
            "",
        ),
        (
            ["", OLD_LISTS, "", "", OLD_LISTS],
            ["--simulate", "install", "update", "--simulate", "install"],
            OLD_LISTS,
        ),
        ([NO_LISTS, "", NO_LISTS], ["--simulate", "update", "--simulate"], NO_LISTS),
        (["", BROKEN], ["--simulate", "install"], BROKEN),
    ],
    ids=["well", "no lists", "old lists", "no such archive", "no such package", "broken"],
)
def test_lists_of_packages_are_fetched_only_where_they_are_too_old_and_once(
    record, ends, runs, says
):
    apt = Apt(*ends)
    with pytest.raises(GatewayError, match=re.escape(says)) if says else contextlib.nullcontext():
        Packages(["dnsmasq"]).do(apt, record)
    assert apt.runs == runs
    if not says:
        assert record.made["packages"]["names"] == ["dnsmasq", "dnsmasq-base"]


def test_an_unknown_user_is_refused_before_anything_is_made(root):
    before = root.everything()
    code, said = root.setup("--user", "nobody-here")
    assert (code, root.everything()) == (1, before)
    assert "there is no such user" in said.splitlines()[-1]


def test_who_is_not_root_is_told_so_in_one_line(root, monkeypatch):
    before = root.everything()
    monkeypatch.setattr("rhubarbe.cli.setup.os.getuid", lambda: 4001)
    code, said = root.setup()
    assert (code, root.everything()) == (1, before)
    assert said.splitlines()[-1].startswith("rhubarbe-setup: only root can do that")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 99}'])
def test_a_record_that_makes_no_sense_is_refused(root, content):
    root.write("var/lib/rhubarbe-setup/record.json", content)
    before = root.everything()
    code, said = root.setup()
    assert (code, root.everything()) == (1, before)
    assert "record" in said.splitlines()[-1]
