import shutil
from pathlib import Path

import pytest

from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.libraries import (
    Sysroot,
    add_binary,
    add_merged_directories,
    add_own_program,
)
from rhubarbe.ramdisk_builder.tree import Tree

LOADER = "/lib64/ld-linux.so.2"
PLACE = "lib/x86_64-linux-gnu"


@pytest.fixture
def root(tmp_path, make_elf):
    """Packages with a program of two libraries, of which one needs a third."""

    def put(path, content):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    put("usr/bin/tool", make_elf(["libz.so.1", "libc.so.6"], LOADER))
    put(f"{PLACE}/libc.so.6", make_elf())
    put(f"{PLACE}/ld-2.36.so", make_elf())
    put(f"usr/{PLACE}/libz.so.1.2.13", make_elf(["libm.so.6"]))
    put(f"{PLACE}/libm.so.6", make_elf(["libc.so.6"]))
    put("usr/bin/script", b"#!/bin/sh\n")
    put("usr/bin/broken", make_elf(["libnone.so.1"], LOADER))
    (tmp_path / f"usr/{PLACE}/libz.so.1").symlink_to("libz.so.1.2.13")
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64/ld-linux.so.2").symlink_to(f"/{PLACE}/ld-2.36.so")
    return Sysroot(tmp_path)


@pytest.fixture
def tree():
    tree = Tree()
    add_merged_directories(tree)
    return tree


def files(tree):
    return sorted(path for path, entry in tree if entry.mode & 0o170000 == 0o100000)


def test_a_program_comes_with_its_loader_and_all_libraries(root, tree):
    add_binary(tree, root, "usr/bin/tool")
    assert files(tree) == [
        "usr/bin/tool",
        f"usr/{PLACE}/libc.so.6",
        f"usr/{PLACE}/libm.so.6",
        f"usr/{PLACE}/libz.so.1",
        "usr/lib64/ld-linux.so.2",
    ]


def test_a_script_comes_alone(root, tree):
    add_binary(tree, root, "usr/bin/script")
    assert files(tree) == ["usr/bin/script"]


def test_a_library_that_no_package_has_is_named_with_who_needs_it(root, tree):
    with pytest.raises(PackageError, match=r"usr/bin/broken needs libnone\.so\.1"):
        add_binary(tree, root, "usr/bin/broken")


def test_a_link_in_the_packages_stays_in_the_packages(root, tmp_path):
    found = root.find(LOADER)
    assert found == tmp_path / PLACE / "ld-2.36.so"


def test_a_path_may_be_merged_or_not(root, tmp_path):
    assert root.find("bin/tool") == tmp_path / "usr/bin/tool"
    assert root.find(f"usr/{PLACE}/libc.so.6") == tmp_path / PLACE / "libc.so.6"
    assert root.find("usr/bin/none") is None
    with pytest.raises(PackageError, match="/usr/bin/none is in none of the packages"):
        root.get("usr/bin/none")


def test_a_link_that_leads_to_itself_is_nothing(root, tmp_path):
    (tmp_path / "usr/bin/round").symlink_to("round")
    assert root.find("usr/bin/round") is None


def test_a_program_of_the_packages_is_run_with_their_loader(root, tmp_path):
    command = root.command("usr/bin/tool", "-x")
    assert command[0] == str(tmp_path / PLACE / "ld-2.36.so")
    assert str(tmp_path / PLACE) in command[2].split(":")
    assert command[-2:] == [str(tmp_path / "usr/bin/tool"), "-x"]


@pytest.mark.skipif(not shutil.which("ldd"), reason="no ldd here")
def test_a_program_of_this_machine_takes_along_what_the_packages_lack(root, tree):
    program = Path(shutil.which("env")).resolve()
    add_own_program(tree, root, program)
    there = files(tree)
    assert f"usr/bin/{program.name}" in there
    # libc is in the packages: that one is taken, not this machine's
    assert tree[f"usr/{PLACE}/libc.so.6"].content == root.get(f"{PLACE}/libc.so.6")


def test_a_script_of_this_machine_comes_alone(root, tree, tmp_path):
    script = tmp_path / "site-tool"
    script.write_text("#!/bin/sh\n")
    add_own_program(tree, root, script)
    assert files(tree) == ["usr/bin/site-tool"]
