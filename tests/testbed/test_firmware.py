"""Which firmware machines have, and what of it is missing."""

import asyncio
import re
import shutil

import pytest

from rhubarbe.annexe.errors import MissingProgram, Misused
from rhubarbe.testbed import bootserver, firmware, qemu_machines
from rhubarbe.testbed.firmware import Board
from rhubarbe.testbed.namespace import PrivateNetwork
from rhubarbe.testbed.qemu_machines import QemuMachines
from rhubarbe.testbed.site import Plan, Site

ALL = ("bios", "uefi", "secureboot")


@pytest.fixture
def site(tmp_path):
    plan = Plan(directory=tmp_path, numbers=[1, 2, 3, 4])
    names = plan.names()
    (tmp_path / "run").mkdir()
    return Site(plan, tmp_path, names, {each.node: None for each in names}, lambda text: None)


@pytest.fixture
def ovmf(tmp_path, monkeypatch):
    """A firmware that is installed, and its variables."""
    for name in ("code", "uefi", "secureboot"):
        (tmp_path / name).write_text(f"{name} as new")
    monkeypatch.setattr(firmware, "CODE", tmp_path / "code")
    there = {kind: tmp_path / kind for kind in ALL[1:]}
    monkeypatch.setattr(firmware, "VARIABLES", there)
    return tmp_path


def test_kinds_are_read_and_others_refused():
    assert firmware.parse("bios,secureboot") == ("bios", "secureboot")
    with pytest.raises(Misused, match="'efi' is none of bios, uefi, secureboot"):
        firmware.parse("bios,efi")


def test_what_is_not_installed_is_told_by_its_package(ovmf):
    firmware.require(ALL)
    (ovmf / "secureboot").unlink()
    firmware.require(ALL[:2])
    with pytest.raises(MissingProgram, match=r"apt-get install .* ovmf$"):
        firmware.require(ALL)


def test_machines_have_the_kinds_in_turn_and_variables_of_their_own(site, ovmf):
    kind = QemuMachines(firmwares=ALL)
    boards = kind._boards(site)
    assert [board.kind for board in boards.values()] == [*ALL, "bios"]
    for board in boards.values():
        board.make()
    assert boards["fit03"].variables.read_text() == "secureboot as new"
    assert not boards["fit01"].variables.exists()
    words = " ".join(boards["fit02"].words())
    assert f"readonly=on,file={ovmf}/code" in words
    assert f"unit=1,file={site.run}/fit02.variables" in words
    assert Board().words() == []


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86")
async def test_only_a_bios_needs_code_on_the_network_card(site):
    async with asyncio.TaskGroup() as tasks:
        kind = QemuMachines(firmwares=ALL)
        machines = [
            kind.machine(site, names, PrivateNetwork(), tasks).chassis for names in site.names
        ]
    cards = [
        next(w for w in each.command(by_network=True) if "virtio-net" in w) for each in machines[:2]
    ]
    assert [card.endswith(",romfile=") for card in cards] == [False, True]
    assert machines[1].memory_mib == machines[0].memory_mib + firmware.MORE_MEMORY


def test_the_configuration_says_where_each_looks_for_its_link(site):
    nodes = QemuMachines(firmwares=ALL).settings(site)["nodes"]
    netboots = {name: value for name, value in nodes.items() if name.startswith("netboot")}
    assert netboots == {
        "netboot.fit01": "pxelinux",
        "netboot.fit02": "grub",
        "netboot.fit03": "grub",
        "netboot.fit04": "pxelinux",
    }
    scripted = QemuMachines(firmwares=["ipxe-tftp"]).settings(site)["nodes"]
    assert scripted["netboot.fit01"] == "ipxe"


def test_uefi_is_given_shim_by_dhcp_and_bios_pxelinux(tmp_path):
    words = bootserver._options(tmp_path, tmp_path, [])
    assert "--dhcp-match=set:uefi,option:client-arch,7" in words
    assert "--dhcp-boot=tag:uefi,tag:!scripted,shimx64.efi" in words
    assert "--dhcp-boot=pxelinux.0" in words


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("bios", ""),
        ("uefi", ""),
        ("ipxe", ",set:scripted,set:http"),
        ("ipxe-tftp", ",set:scripted,set:tftp"),
        ("ipxe-uefi", ",set:scripted,set:http"),
    ],
)
def test_dhcp_tells_ipxe_of_its_script_where_it_is_to_have_it(tmp_path, kind, tags):
    client = bootserver.Client("02:AB:00:00:00:01", "10.77.1.2", kind)
    words = bootserver._options(tmp_path, tmp_path, [client])
    assert f"--dhcp-host=02:ab:00:00:00:01{tags},10.77.1.2" in words
    assert "--dhcp-boot=tag:ipxe,tag:http,http://10.77.0.1/ipxe/rhubarbe.ipxe" in words
    assert "--dhcp-boot=tag:ipxe,tag:tftp,ipxe/rhubarbe.ipxe" in words


@pytest.fixture
def ramdisk(tmp_path):
    """What rhubarbe-ramdisk has built."""
    for name in bootserver.needed([*ALL, "ipxe"]):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("linux /vmlinuz quiet\nAPPEND quiet\n")
    return tmp_path / "mine"


def test_what_is_served_is_what_the_firmware_needs(site, ramdisk, monkeypatch):
    monkeypatch.setattr(bootserver, "MODULE_NAMES", ())
    monkeypatch.setattr(bootserver, "PXELINUX", ramdisk / "vmlinuz")
    for entries in (site.boot_entries, site.grub_entries, site.ipxe_entries):
        entries.mkdir()
    tree = site.run / "tftp"
    bootserver.lay_out(site, tree, ramdisk, ["uefi"])
    assert (tree / "grub/pxefrisbee").read_text().startswith("linux /vmlinuz quiet no_timer_check")
    assert (tree / "shimx64.efi").is_file()
    assert list(site.ipxe_entries.iterdir()) == []
    assert list(site.boot_entries.iterdir()) == []


@pytest.mark.parametrize(
    ("gone", "kinds", "said"),
    [
        ("shimx64.efi", ["secureboot"], "no shimx64.efi there; do: rhubarbe-ramdisk build"),
        ("ipxe/rhubarbe.ipxe", ["ipxe"], "no ipxe/rhubarbe.ipxe there"),
        ("pxelinux.cfg/pxefrisbee", ["bios", "uefi"], "no pxelinux.cfg/pxefrisbee there"),
    ],
)
def test_a_ramdisk_without_what_the_firmware_needs_is_refused(ramdisk, gone, kinds, said):
    (ramdisk / gone).unlink()
    with pytest.raises(Misused, match=re.escape(said)):
        qemu_machines._check_ramdisk(ramdisk, "telnet", kinds)
