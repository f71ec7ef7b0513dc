"""A boot entry's kernel and initrds are found in the words of each loader."""

import pytest
from absent import entry

from rhubarbe.config import Settings
from rhubarbe.config.settings import PxelinuxSettings
from rhubarbe.doctor import boot_entries
from rhubarbe.doctor.boot_files import files_in
from rhubarbe.doctor.site import Site
from rhubarbe.shared.own import read_file

ENTRIES = {
    "pxelinux, as rhubarbe-ramdisk writes it": (
        "DEFAULT ramdisk\nLABEL ramdisk\nKERNEL vmlinuz\nAPPEND initrd=initrd quiet\nIPAPPEND 3\n",
        ["vmlinuz", "initrd"],
    ),
    "the default label only": (
        "default b\nlabel a\n linux old\nlabel b\n linux new\n initrd one,two\n",
        ["new", "one", "two"],
    ),
    "the first label where none is the default": (
        "LABEL a\nLINUX /k/first\nLABEL b\nLINUX second\n",
        ["/k/first"],
    ),
    "a kernel as the default": ("DEFAULT vmlinuz initrd=x.gz root=y\n", ["vmlinuz", "x.gz"]),
    "programs of pxelinux": ("DEFAULT l\nLABEL l\nCOM32 chain.c32\nAPPEND hd0\n", []),
    "GRUB": ("linux vmlinuz ip=dhcp quiet\ninitrd initrd more\n", ["vmlinuz", "initrd", "more"]),
    "GRUB of UEFI": ("linuxefi (tftp)/a\ninitrdefi (tftp)/b\nboot\n", ["/a", "/b"]),
    "GRUB's variables": ("linux $prefix/vmlinuz\ninitrd ($root)/initrd\n", []),
    "iPXE": ("#!ipxe\nkernel k initrd=i ip=dhcp\ninitrd --name i i\nboot\n", ["k", "i"]),
    "iPXE by HTTP": ("#!ipxe\nkernel http://10.0.0.1/vmlinuz\ninitrd ${base}/initrd\nboot\n", []),
    "another server's root": ("LINUX ::boot/vmlinuz\n", ["boot/vmlinuz"]),
    "comments": ("# kernel no\nKERNEL yes # no\n", ["yes"]),
    "nothing": ("", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "names"), ENTRIES.values(), ids=ENTRIES)
def test_what_an_entry_names(text, names):
    assert files_in(text) == names


def test_an_entry_that_names_no_end_of_files_costs_no_end_of_time():
    assert len(files_in("\n".join(f"kernel k{number}" for number in range(10_000)))) == 16


@pytest.mark.parametrize(
    "text", ["kernel", "initrd", "append", "label", "default", "\0", "initrd ,"]
)
def test_half_a_line_is_no_file(text):
    assert files_in(text) == []


async def test_each_boot_entry_is_read_once_however_many_nodes_boot_it(tmp_path, monkeypatch):
    (tmp_path / "pxelinux.cfg").mkdir()
    (tmp_path / "pxelinux.cfg/pxefrisbee").write_text("KERNEL vmlinuz\nAPPEND initrd=initrd\n")
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).write_text("x")
    reads = []

    def counted(path, most):
        reads.append(path)
        return read_file(path, most)

    monkeypatch.setattr(boot_entries, "read_file", counted)
    settings = Settings(pxelinux=PxelinuxSettings(config_dir=tmp_path / "pxelinux.cfg"))
    (finding,) = await boot_entries.look(Site(settings, [entry(1), entry(2)], 5.0))
    place = tmp_path / "pxelinux.cfg/pxefrisbee"
    assert finding.text == f"{place}: boots nodes 1-2, by vmlinuz, initrd"
    assert reads == [str(place)]
