"""What is served beside the ramdisk: one directory for BIOS and UEFI, of several architectures."""

import shutil
import subprocess

import pytest

from rhubarbe.ramdisk_builder import bootfiles
from rhubarbe.ramdisk_builder.base import FILES
from rhubarbe.ramdisk_builder.efi import LOADERS
from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.libraries import Sysroot


@pytest.fixture
def root(tmp_path):
    """Unpacked packages of boot loaders, each of which says what it is."""
    directory = tmp_path / "packages"
    for place, names in {
        "usr/lib/shim": ("shimx64.efi", "shimaa64.efi"),
        "usr/lib/grub/x86_64-efi-signed": ("grubx64.efi", "grubnetx64.efi"),
        "usr/lib/grub/arm64-efi-signed": ("grubaa64.efi", "grubnetaa64.efi"),
    }.items():
        (directory / place).mkdir(parents=True)
        for name in names:
            (directory / place / f"{name}.signed").write_text(f"signed {name}")
    return Sysroot(directory)


def write(directory, root, architecture="amd64"):
    told = []
    bootfiles.write_for_uefi(directory, LOADERS[architecture], root, told.append)
    return told


def test_shim_finds_the_grub_of_networks_beside_itself(tmp_path, root):
    assert write(tmp_path, root) == []
    assert write(tmp_path, root, "arm64") == []
    said = {path.name: path.read_text() for path in tmp_path.glob("*.efi")}
    assert said == {
        "shimx64.efi": "signed shimx64.efi",
        "grubx64.efi": "signed grubnetx64.efi",
        "shimaa64.efi": "signed shimaa64.efi",
        "grubaa64.efi": "signed grubnetaa64.efi",
    }
    assert sorted(path.name for path in (tmp_path / "grub").iterdir()) == ["grub.cfg", "pxefrisbee"]


def test_a_site_s_own_configuration_of_grub_stays(tmp_path, root):
    own = tmp_path / "grub" / "grub.cfg"
    own.parent.mkdir()
    own.write_text("menuentry 'ours' {}\n")
    (told,) = write(tmp_path, root)
    assert told.startswith(f"{own} is the site's own, and stays")
    assert own.read_text() == "menuentry 'ours' {}\n"
    assert (tmp_path / "grub/grub.cfg.rhubarbe").read_text() == (FILES / "grub.cfg").read_text()


def test_our_own_of_an_earlier_build_is_made_anew(tmp_path, root):
    write(tmp_path, root)
    made = tmp_path / "grub" / "grub.cfg"
    made.write_text(made.read_text().splitlines()[0] + "\nan earlier one\n")
    assert write(tmp_path, root) == []
    assert made.read_text() == (FILES / "grub.cfg").read_text()


def test_scripts_of_ipxe_lead_to_the_link_beside_them_and_to_kernels_above(tmp_path):
    bootfiles.write_for_ipxe(tmp_path)
    script, entry = (tmp_path / name for name in ("ipxe/rhubarbe.ipxe", "ipxe/pxefrisbee.ipxe"))
    assert "chain --autofree ${netX/mac:hexhyp}.ipxe || exit 1" in script.read_text()
    assert "set place ../arm64 || set place .." in entry.read_text()
    for path in (script, entry):
        assert path.read_text().startswith("#!ipxe\n")


def test_packages_without_the_loader_are_told(tmp_path):
    with pytest.raises(PackageError, match=r"usr/lib/shim/shimx64.efi.signed is in none"):
        write(tmp_path, Sysroot(tmp_path))


def test_only_what_bios_cannot_boot_has_a_directory_of_its_own(tmp_path):
    assert bootfiles.place(tmp_path, "amd64") == tmp_path
    assert bootfiles.place(tmp_path, "arm64") == tmp_path / "arm64"


@pytest.mark.parametrize("name", ["grub.cfg", "grub-pxefrisbee"])
def test_grub_understands_it(name):
    checker = shutil.which("grub-script-check")
    if checker is None:
        pytest.skip("needs grub-script-check, of the package grub-common")
    done = subprocess.run([checker, FILES / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


SOURCED = '. "$1"; for each; do [ "$each" = "$1" ] || dotted "$each"; done'


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_the_ramdisk_reads_masks_as_grub_writes_them(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    command = [shell, *(["sh"] if shell == "busybox" else []), "-c", SOURCED, "sh"]
    words = [FILES / "network", "ffff0000", "0a4d0001c0a80101", "255.255.255.0", ""]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n") == ["255.255.0.0", "10.77.0.1", "255.255.255.0", "", ""]
    assert done.stderr == ""
