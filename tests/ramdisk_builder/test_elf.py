import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rhubarbe.ramdisk_builder import elf
from rhubarbe.ramdisk_builder.errors import FormatError


def test_a_program_names_its_libraries_and_its_loader(make_elf):
    content = make_elf(needed=["libz.so.1", "libc.so.6"], interpreter="/lib64/ld-linux.so.2")
    program = elf.Elf(content, "program")
    assert program.needed() == ["libz.so.1", "libc.so.6"]
    assert program.interpreter() == "/lib64/ld-linux.so.2"


def test_a_static_program_names_none(make_elf):
    program = elf.Elf(make_elf(), "busybox")
    assert program.needed() == []
    assert program.interpreter() == ""


def test_a_module_says_what_it_is(make_elf):
    said = [("alias", "pci:v00001AF4d*"), ("depends", "virtio,virtio_ring"), ("name", "virtio_pci")]
    assert list(elf.Elf(make_elf(modinfo=said), "virtio_pci.ko").modinfo()) == said


def test_a_program_says_nothing_of_itself(make_elf):
    assert list(elf.Elf(make_elf(), "program").modinfo()) == []


def test_a_real_program_needs_libc():
    program = elf.read(Path(shutil.which("env")).resolve())
    assert any(name.startswith("libc.so") for name in program.needed())
    assert "/ld" in program.interpreter()


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\2\2" + bytes(90)])
def test_what_is_no_elf_file_is_refused(content):
    with pytest.raises(FormatError, match="sh is no little-endian ELF file"):
        elf.Elf(content, "sh")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(place=35, byte=128, length=64)
@given(place=st.integers(0, 400), byte=st.integers(0, 255), length=st.integers(64, 800))
def test_a_damaged_file_is_read_or_refused_but_never_breaks_us(make_elf, place, byte, length):
    content = bytearray(make_elf(["libc.so.6"], "/lib/ld.so", [("name", "module")]))
    content[4 + place % (len(content) - 4)] = byte
    try:
        binary = elf.Elf(bytes(content[:length]), "damaged")
        binary.needed(), binary.interpreter(), list(binary.modinfo())
    except FormatError as error:
        assert "damaged" in str(error)
