"""Nothing that runs on the emulated testbed opens a device of the host for writing."""

import re
import shutil

import pytest
from emulated import BIN, tool

pytestmark = [pytest.mark.testbed, pytest.mark.full, pytest.mark.timeout(180)]

HARMLESS = re.compile(r"/dev/(null|tty|ptmx|pts/\d+|fd/\d+|shm/.*|stdin|stdout|stderr)$")
WRITES = re.compile(r'open(?:at)?\((?:AT_FDCWD, |\d+, )?"(/dev/[^"]*)", [^)]*O_(?:WRONLY|RDWR)')


def test_load_and_save_open_no_device(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    job = "rhubarbe-load 1-2 && rhubarbe-save 1 -o saved && rhubarbe-load -i saved 2"
    tool(
        *("strace", "-f", "--seccomp-bpf", "-qq", "-o", trace),
        *("-e", "trace=open,openat,mknod,mknodat,mount"),
        *(BIN / "rhubarbe-testbed", "--nodes", "2", "--boot-time", "1.5", "--"),
        *("sh", "-c", f"cd {tmp_path} && {job}"),
    )
    text = trace.read_text(errors="replace")
    assert "sda" in text, "the trace has not followed the nodes' programs"
    opened = {path for path in WRITES.findall(text) if not HARMLESS.match(path)}
    assert opened == set()
    assert "mknod" not in text
    assert "mount(" not in text


def test_a_node_refuses_what_is_not_its_own(make_testbed):
    testbed = make_testbed("--nodes", "1", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    good = conf.read_text()
    for disk in ("/dev/vda", "../fit02/dev/sda", "/etc/passwd"):
        conf.write_text(re.sub(r"(?m)^hard_drive = .*$", f"hard_drive = {disk}", good))
        loaded = testbed.run("rhubarbe-load", "-n" if "/etc" in disk else "-t30", "1")
        assert loaded.returncode == 1
        assert ("the node has sda" if disk == "/dev/vda" else "not on this node") in loaded.stdout
