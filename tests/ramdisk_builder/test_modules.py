import lzma

import pytest

from rhubarbe.ramdisk_builder.errors import FormatError, PackageError
from rhubarbe.ramdisk_builder.modules import Modules, add_modules
from rhubarbe.ramdisk_builder.tree import Tree


@pytest.fixture
def add_module(tmp_path, make_elf):
    """Return a function that puts a module into the directory of a kernel 6.1.0."""

    def add(path, *, packed=False, **said):
        file = tmp_path / "6.1.0" / "kernel" / (path + (".xz" if packed else ""))
        file.parent.mkdir(parents=True, exist_ok=True)
        content = make_elf(modinfo=list(said.items()))
        file.write_bytes(lzma.compress(content) if packed else content)

    return add


@pytest.fixture
def modules(tmp_path, add_module):
    add_module("drivers/virtio/virtio.ko", depends="")
    add_module("drivers/virtio/virtio_ring.ko", depends="virtio")
    add_module("drivers/virtio/virtio_pci.ko", depends="virtio,virtio_ring", alias="pci:v1AF4*")
    add_module("drivers/net/net-failover.ko", packed=True, depends="")
    add_module(
        "drivers/net/virtio_net.ko",
        packed=True,
        depends="virtio_ring,virtio,net-failover",
        alias="virtio:d1v*",
        firmware="virtio.bin",
    )
    add_module("drivers/net/r8169.ko", depends="", softdep="pre: realtek built-in post: late")
    add_module("drivers/net/realtek.ko", depends="", softdep="pre: r8169")
    add_module("drivers/net/late.ko", depends="")
    add_module("fs/ext4/ext4.ko", depends="", softdep="pre: crc32c")
    add_module("crypto/crc32c_generic.ko", depends="", alias="crc32c")
    add_module("crypto/sha1_generic.ko", depends="", alias="sha1")
    add_module("arch/x86/crypto/crc32c-intel.ko", depends="", alias="crc32c")
    return Modules(tmp_path / "6.1.0")


def names(found):
    return [module.name for module in found]


def test_each_module_comes_after_what_it_needs(modules):
    ordered = names(modules.in_order(["virtio_net"]))
    assert ordered == ["virtio", "virtio_ring", "net_failover", "virtio_net"]


def test_none_comes_twice(modules):
    ordered = names(modules.in_order(["virtio_pci", "virtio_net", "virtio-pci"]))
    assert sorted(ordered) == sorted(set(ordered))
    assert len(ordered) == 5


def test_what_should_be_there_before_comes_too_and_may_be_built_in(modules):
    assert names(modules.in_order(["r8169"])) == ["realtek", "r8169"]


def test_all_that_bring_an_algorithm_come_too_but_are_not_needed(modules):
    tree = Tree()
    add_modules(tree, modules, ["ext4"])
    lines = tree["usr/lib/modules/6.1.0/modules.dep"].read().decode().splitlines()
    assert lines == [
        "kernel/arch/x86/crypto/crc32c-intel.ko:",
        "kernel/crypto/crc32c_generic.ko:",
        "kernel/fs/ext4/ext4.ko:",
    ]


def test_modules_are_found_by_directory_and_by_either_spelling(modules):
    assert modules.below("drivers/virtio") == ["virtio", "virtio_pci", "virtio_ring"]
    assert "net-failover" in modules
    assert "net_failover" in modules
    assert "nvme" not in modules


def test_the_tree_gets_them_unpacked_with_what_modprobe_reads(modules):
    tree = Tree()
    add_modules(tree, modules, ["virtio_net", "virtio_pci"])
    base = "usr/lib/modules/6.1.0"
    assert tree[f"{base}/kernel/drivers/net/virtio_net.ko"].read().startswith(b"\x7fELF")
    assert tree[f"{base}/modules.alias"].read().decode() == (
        "alias pci:v1AF4* virtio_pci\nalias virtio:d1v* virtio_net\n"
    )
    lines = tree[f"{base}/modules.dep"].read().decode().splitlines()
    assert (
        "kernel/drivers/virtio/virtio_pci.ko:"
        " kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko"
    ) in lines
    assert "kernel/drivers/virtio/virtio.ko:" in lines
    assert len(lines) == 5


def test_a_module_names_its_firmware(modules):
    assert modules.read("virtio_net").firmware == ("virtio.bin",)


def test_a_module_that_is_missing_is_named(modules, add_module, tmp_path):
    with pytest.raises(PackageError, match=r"kernel 6\.1\.0 has no module nvme"):
        modules.in_order(["nvme"])


def test_a_damaged_module_is_named(tmp_path, add_module):
    add_module("drivers/a.ko", packed=True)
    file = tmp_path / "6.1.0/kernel/drivers/a.ko.xz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(FormatError, match=r"a\.ko\.xz is damaged"):
        Modules(tmp_path / "6.1.0").read("a")
