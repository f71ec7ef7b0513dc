"""A QEMU machine's power, with another program in the place of QEMU; what is built, and kept."""

import asyncio
import itertools
import os
import stat
from pathlib import Path

import pytest

from rhubarbe.annexe.errors import Misused, ProgramFailed
from rhubarbe.testbed import bootserver, qemu, qemu_machines
from rhubarbe.testbed import built as building
from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.drives import Drive, DriveWish
from rhubarbe.testbed.faults import Faults, by_node, parse
from rhubarbe.testbed.namespace import PrivateNetwork
from rhubarbe.testbed.qemu import Chassis, QemuMachine
from rhubarbe.testbed.site import Plan, Site

# Stands for QEMU: it says that it boots, and lets nobody else have its cable at the same time.
STAND_IN = """\
#!/bin/sh
exec 9>"{place}/cable"
flock -n 9 || exit 75
echo "$$ boots" >> "{place}/said"
[ ! -e "{place}/shuts-down" ] || exit 0
exec sleep 60
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(STAND_IN.format(place=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "disk.img").write_bytes(b"as it was")
    return tmp_path


def chassis(place, **options):
    settings = {
        "name": "fit01",
        "mac": "02:AB:00:01:00:01",
        "tap": "tap1",
        "drives": [Drive(place / "disk.img")],
        "disk": place / "disk.img",
        "serial": place / "serial.log",
        "memory_mib": 256,
        "before": None,
    }
    return Chassis(**settings | options)


class Bench:
    """A machine on a bench: what it did is read from files."""

    def __init__(self, place, tasks, faults=None, **options):
        self.place = place
        self.log = []
        faults = faults or Faults()
        self.machine = QemuMachine(chassis(place, **options), faults, tasks, self.log.append)

    def boots(self):
        said = self.place / "said"
        return said.read_text().splitlines() if said.exists() else []

    async def has_booted(self, times):
        await self.until(lambda: len(self.boots()) == times)

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - a file tells it
                await asyncio.sleep(0.01)


async def test_power_is_a_process(place):
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(place, tasks)
        bench.machine.power_up()
        assert bench.machine.has_power
        await bench.has_booted(1)
        for boots in range(2, 22, 2):
            for _ in range(3):
                bench.machine.press(Key.RESET)
            await bench.has_booted(boots)
            bench.machine.press(Key.ON)  # it is on
            bench.machine.press(Key.OFF)
            assert not bench.machine.has_power
            bench.machine.press(Key.RESET)  # only wakes what is on
            assert not bench.machine.has_power
            bench.machine.press(Key.ON)
            await bench.has_booted(boots + 1)
        bench.machine.stop()
    assert not any("with status" in line for line in bench.log)  # none found its cable taken
    assert not any(runs(line.split()[0]) for line in bench.boots())


def runs(process):
    return Path(f"/proc/{process}").exists()


async def test_a_machine_that_shuts_down_is_off(place):
    (place / "shuts-down").touch()
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(place, tasks)
        bench.machine.power_up()
        await bench.until(lambda: not bench.machine.has_power)
        assert bench.log[-1] == "fit01 switches itself off, with status 0"


async def test_the_disk_is_kept_as_it_was_when_the_machine_was_switched_on(place):
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(place, tasks, before=place / "disk.before")
        bench.machine.power_up()
        await bench.until(bench.boots)
        (place / "disk.img").write_bytes(b"as it is ")
        assert (place / "disk.before").read_bytes() == b"as it was"
        bench.machine.press(Key.RESET)
        await bench.until(lambda: len(bench.boots()) == 2)
        assert (place / "disk.before").read_bytes() == b"as it is "
        bench.machine.stop()


async def test_a_machine_that_never_returns(place):
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(place, tasks, Faults({"never-returns": 1}))
        bench.machine.power_up()  # no fault happens yet
        await bench.until(bench.boots)
        bench.machine.press(Key.RESET)
        await bench.until(lambda: "fit01 meets never-returns" in bench.log)
        assert bench.machine.has_power
        bench.machine.press(Key.RESET)
        await bench.until(lambda: len(bench.boots()) == 2)
        bench.machine.stop()


def test_commas_in_paths_are_told_apart_from_those_of_options(place):
    words = chassis(place, serial=Path("/a,b/c.log")).command(by_network=True)
    assert "file,id=serial,path=/a,,b/c.log,append=on" in words
    assert "tcg,thread=multi,tb-size=64" in words


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"faults": [parse("fit01:frisbee-fails")]}, "frisbee-fails cannot be made to happen"),
        ({"image": Path("an.ndz")}, "--image goes with emulated nodes only"),
    ],
)
def test_what_machines_cannot_do_is_refused(tmp_path, options, said):
    plan = Plan(directory=tmp_path, numbers=[1], **options)
    with pytest.raises(Misused, match=said):
        qemu_machines.QemuMachines().check(plan)


def test_a_disk_of_no_machine_is_refused(tmp_path):
    kind = qemu_machines.QemuMachines(wishes=[DriveWish("fit02", "nvme")])
    with pytest.raises(Misused, match="fit02, which is not in this testbed"):
        kind.check(Plan(directory=tmp_path, numbers=[1]))


def site_of(directory, *numbers):
    plan = Plan(directory=directory, numbers=numbers)
    names = plan.names()
    faults = by_node([], [each.node for each in names])
    return Site(plan, directory, names, faults, lambda text: None)


def test_the_configuration_says_which_disk_is_meant(tmp_path):
    wishes = [
        DriveWish("", "nvme"),
        DriveWish("fit02", "scsi"),
        DriveWish("fit03", "virtio"),
        DriveWish("fit03", "virtio", is_meant=True),
    ]
    kind = qemu_machines.QemuMachines(wishes=wishes)
    assert kind.settings(site_of(tmp_path, 1, 2, 3, 4))["frisbee"] == {
        "hard_drive": "/dev/nvme0n1",
        "root_partition": "/dev/nvme0n1p1",
        "hard_drive.fit02": "/dev/sda",
        "hard_drive.fit03": "serial=fit03-2",
    }
    usual = qemu_machines.QemuMachines().settings(site_of(tmp_path, 1))["frisbee"]
    assert usual == {"hard_drive": "/dev/vda", "root_partition": "/dev/vda1"}


async def test_a_machine_boots_what_is_meant_of_its_disks(tmp_path):
    site = site_of(tmp_path, 1)
    wishes = [DriveWish("", "virtio"), DriveWish("", "usb", serial="S", is_meant=True)]
    async with asyncio.TaskGroup() as tasks:
        kind = qemu_machines.QemuMachines(wishes=wishes)
        made = kind.machine(site, site.names[0], PrivateNetwork(), tasks).chassis
    assert made.disk == site.disk("fit01")
    assert made.drives == [
        Drive(site.disk("fit01-1"), "virtio", "fit01-1", boot_order=3),
        Drive(site.disk("fit01"), "usb", "S", boot_order=2),
    ]
    assert made.memory_mib == qemu_machines.MEMORY_OF_ALL_DRIVERS


def test_a_ramdisk_of_one_s_own_is_looked_at_first(tmp_path):
    ramdisk = tmp_path / "mine"
    (ramdisk / "pxelinux.cfg").mkdir(parents=True)
    (ramdisk / "vmlinuz").touch()
    kind = qemu_machines.QemuMachines(ramdisk=ramdisk)
    with pytest.raises(Misused, match=r"no initrd, pxelinux.cfg/pxefrisbee there; do: rhubarbe-ra"):
        kind.check(Plan(directory=tmp_path, numbers=[1]))
    with pytest.raises(Misused, match="which key opens it"):
        kind.check(Plan(directory=tmp_path, numbers=[1], ramdisk_shell="ssh"))


@pytest.fixture
def builds(monkeypatch):
    """What is asked of rhubarbe-ramdisk and imagezip, which are not run."""
    asked = []

    async def run(words, **_):
        asked.append([str(word) for word in words[3:]])
        make([Path(made) for option, made in itertools.pairwise(words) if option == "--output"])

    def make(paths):
        for path in paths:
            path.write_text("made")

    monkeypatch.setattr(building.programs, "run", run)
    return asked


async def test_what_was_built_is_found_again(tmp_path, builds):
    one = await building.built(tmp_path / "cache", [])
    assert [words[0] for words in builds] == ["build", "system", "-o"]
    assert one.system.read_text() == "made"
    assert one.key.stat().st_mode & 0o777 == 0o600
    assert (await building.built(tmp_path / "cache", [])).directory == one.directory
    assert len(builds) == 3
    other = await building.built(tmp_path / "cache", ["--debian"])
    assert other.directory != one.directory
    assert builds[4][-1] == "--debian"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == sorted(
        ["lock", one.directory.name, other.directory.name]
    )


async def test_two_at_once_build_once(tmp_path, builds):
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(building.built(tmp_path, [])) for _ in range(2)]
    assert len(builds) == 3
    assert both[0].result() == both[1].result()


async def test_a_build_that_fails_leaves_nothing(tmp_path, monkeypatch):
    async def run(words, **_):
        raise ProgramFailed("rhubarbe-ramdisk ended with 1: no packages")

    monkeypatch.setattr(building.programs, "run", run)
    with pytest.raises(ProgramFailed, match="no packages"):
        await building.built(tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_each_machine_has_its_address_from_dnsmasq(tmp_path):
    client = bootserver.Client("02:AB:00:01:00:01", "10.77.1.2", "bios")
    words = bootserver._options(tmp_path / "tree", tmp_path, [client])
    assert "--dhcp-host=02:ab:00:01:00:01,10.77.1.2" in words
    assert f"--tftp-root={tmp_path}/tree" in words


def test_qemu_dies_with_the_testbed(place):
    assert qemu.namespace.killed_with_us("a", "b")[1:] == ["--pdeathsig", "KILL", "--", "a", "b"]
