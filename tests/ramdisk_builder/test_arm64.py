"""A machine of 64-bit Arm boots what is built for it: by its firmware, shim and GRUB, from TFTP.

It takes 35 seconds on two cores, once packages for that processor are in the cache.
"""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_boot import typed
from virtual import Machine, free_ports

FIRMWARE = Path("/usr/share/AAVMF")
MAC = "02:00:00:00:00:09"
BOOTS_WITHIN = 200  # seconds, on two cores that others use too
pytestmark = [
    pytest.mark.full,
    pytest.mark.alone,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (shutil.which("qemu-system-aarch64") and FIRMWARE.is_dir()),
        reason="needs qemu-system-arm and qemu-efi-aarch64",
    ),
]


@pytest.fixture
def tree(tmp_path):
    """What the builder writes, with a link of the machine as rhubarbe makes it."""
    made = tmp_path / "tree"
    words = [Path(sys.executable).parent / "rhubarbe-ramdisk", "build", "--arch", "arm64"]
    done = subprocess.run([*words, "--output", made], capture_output=True, text=True, check=False)
    if "Debian packages cannot be had" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    (made / "grub" / f"01-{MAC.replace(':', '-')}").symlink_to("pxefrisbee")
    return made


@contextlib.contextmanager
def machine(directory, tree):
    """Run one that boots from the network only, by the TFTP server that QEMU has."""
    ports, log, variables = free_ports(2), directory / "serial.log", directory / "variables.fd"
    shutil.copy(FIRMWARE / "AAVMF_VARS.fd", variables)
    network = f"user,id=net,tftp={tree},bootfile=shimaa64.efi"
    flash = "if=pflash,format=raw"
    words = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", "768"]
    words += ["-accel", "tcg,thread=multi,tb-size=64", "-nodefaults", "-display", "none"]
    words += ["-drive", f"{flash},unit=0,readonly=on,file={FIRMWARE / 'AAVMF_CODE.fd'}"]
    words += ["-drive", f"{flash},unit=1,file={variables}", "-serial", f"file:{log}"]
    words += ["-netdev", f"{network},hostfwd=tcp:127.0.0.1:{ports[0]}-:23"]
    words += ["-device", f"virtio-net-pci,netdev=net,mac={MAC},bootindex=1,romfile="]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield Machine(process, *ports, log)
    finally:
        process.terminate()
        process.communicate(timeout=20)


async def test_its_shell_is_reached(tmp_path, tree):
    with machine(tmp_path, tree) as arm:
        await arm.first_line(arm.telnet, BOOTS_WITHIN)
        lines, status = await typed(arm, "uname -m; cat /proc/cmdline")
    said = "\n".join(lines)
    assert status == 0, said
    assert "aarch64" in said
    assert "BOOT_IMAGE=/arm64/vmlinuz" in said
    assert f"BOOTIF=01-{MAC.replace(':', '-')}" in said
    assert "Fetching Netboot Image grubaa64.efi" in arm.log.read_text(errors="replace")
