"""Virtual machines of QEMU on a user-mode network: no root, nothing of the host but their disks."""

import asyncio
import contextlib
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.testbed import drives
from rhubarbe.testbed.drives import Drive

GATEWAY = "10.0.2.2"
BOOTED_BY = f"10.0.2.15:{GATEWAY}:{GATEWAY}:255.255.255.0"
CARD = "virtio-net-pci"
# On a host that is very busy, the kernel's test of its timer would fail and be the end of it.
KERNEL_WORDS = "console=ttyS0 quiet mitigations=off no_timer_check"


@dataclass
class Machine:
    """A running machine: the ports here that lead to its telnet and ssh, and what it said."""

    process: subprocess.Popen
    telnet: int
    ssh: int
    log: Path

    async def first_line(self, port, within):
        """Wait until a service of the machine speaks; return how it begins."""
        try:
            async with asyncio.timeout(within):
                while True:
                    assert self.process.poll() is None, self.story("it ended")
                    if said := await _hear(port):
                        return said
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(self.story(f"nothing spoke within {within} s")) from None

    async def has_ended(self, within):
        await asyncio.to_thread(self.process.wait, within)

    def story(self, what):
        return f"{what}; its serial line:\n{self.log.read_text(errors='replace')[-3000:]}"


async def _hear(port):
    """Return the first bytes that a port says; QEMU accepts before the machine does."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await reader.read(200)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    return b""


@contextlib.contextmanager
def machine(directory, *, disk=None, kernel=None, kind="virtio", disks=(), memory=192, card=CARD):
    """Run a machine that boots its disk, or the kernel and initrd in a directory.

    The disk is of a kind; or there are several, as `disks` (Drive). `card` is QEMU's device.
    """
    ports = free_ports(2)
    log = directory / "serial.log"
    forwards = f"hostfwd=tcp:127.0.0.1:{ports[0]}-:23,hostfwd=tcp:127.0.0.1:{ports[1]}-:22"
    words = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi,tb-size=64"]
    words += ["-m", str(memory), "-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-serial", f"file:{log}", "-netdev", f"user,id=n0,{forwards}"]
    words += ["-device", f"{card},netdev=n0,romfile="]
    words += drives.words([Drive(disk, kind, boot_order=1)] if disk else disks)
    if kernel:
        words += ["-kernel", kernel / "vmlinuz", "-initrd", kernel / "initrd"]
        words += ["-append", f"{KERNEL_WORDS} ip={BOOTED_BY}"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield Machine(process, *ports, log)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
