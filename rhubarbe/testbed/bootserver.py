"""What a gateway offers to machines that boot from the network: DHCP and TFTP by dnsmasq, pxelinux.

iPXE, in the network card of a QEMU machine, waits long for what is not here: for IPv6 routers,
unless one says that it has nothing to tell, and for a proxy, unless DHCP says that there is none.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from rhubarbe.annexe.errors import MissingProgram, ProgramFailed
from rhubarbe.annexe.programs import last_line
from rhubarbe.testbed import namespace, programs

PXELINUX = Path("/usr/lib/PXELINUX/pxelinux.0")
MODULES = Path("/usr/lib/syslinux/modules/bios")
MODULE_NAMES = ("ldlinux.c32", "chain.c32", "libcom32.c32", "libutil.c32")
RAMDISK = ("vmlinuz", "initrd", "pxelinux.cfg/pxefrisbee")
DEFAULT_ENTRY = """\
DEFAULT local
LABEL local
COM32 chain.c32
APPEND hd0
"""
# On a very busy host, an emulated kernel's test of its timer fails, and it would panic.
FOR_A_BUSY_HOST = "no_timer_check"
NO_PROXY = "encap:175,176,1b"  # iPXE's option no-pxedhcp
TO_ALL = "fd77::"
# Whatever our umask: a server may run as another user.
DIRECTORY_MODE, FILE_MODE = 0o755, 0o644
PORTS = (67, 69)  # DHCP, TFTP
START_LIMIT_S = 10.0
LOOK_EVERY_S = 0.02


def require_pxelinux() -> None:
    """Raise MissingProgram where pxelinux is not installed."""
    if not PXELINUX.exists() or not all((MODULES / name).exists() for name in MODULE_NAMES):
        raise MissingProgram(
            "pxelinux is not installed: apt-get install --no-install-recommends"
            " pxelinux syslinux-common"
        )


def lay_out(tree: Path, boot_entries: Path, ramdisk: Path) -> None:
    """Make the tree that TFTP serves; `boot_entries` is pxelinux.cfg, to be filled here too.

    `ramdisk` is where a kernel, an initrd and their entry are.
    """
    tree.mkdir()
    shutil.copy(PXELINUX, tree)
    for name in MODULE_NAMES:
        shutil.copy(MODULES / name, tree)
    *files, entry = RAMDISK
    for name in files:
        (tree / name).symlink_to(ramdisk / name)
    (tree / "pxelinux.cfg").symlink_to(boot_entries)
    text = (ramdisk / entry).read_text()
    name = Path(entry).name
    (boot_entries / name).write_text(re.sub("(?m)^APPEND .*", rf"\g<0> {FOR_A_BUSY_HOST}", text))
    (boot_entries / "default").write_text(DEFAULT_ENTRY)
    for path in (tree, *tree.iterdir(), *boot_entries.iterdir()):
        if not path.is_symlink():
            path.chmod(DIRECTORY_MODE if path.is_dir() else FILE_MODE)


@asynccontextmanager
async def serving(tree: Path, run: Path, machines: Mapping[str, str]) -> AsyncIterator[None]:
    """Serve DHCP and TFTP on the bridge; `machines` gives an address to a hardware address.

    Raises ProgramFailed.
    """
    namespace.ip(f"addr add {TO_ALL}1/64 dev {namespace.BRIDGE} nodad\n")
    log = run / "dnsmasq.log"
    with log.open("wb") as said:
        child = await asyncio.create_subprocess_exec(
            *namespace.killed_with_us_across_setuid(
                programs.find("dnsmasq"), *_options(tree, run, machines)
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while not all(namespace.has_datagrams(child.pid, port) for port in PORTS):
                if child.returncode is not None:
                    last = last_line(log.read_text())
                    raise ProgramFailed(last)
                await asyncio.sleep(LOOK_EVERY_S)
        yield
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


def _options(tree: Path, run: Path, machines: Mapping[str, str]) -> list[str]:
    network = namespace.GATEWAY.rpartition(".")[0] + ".0"
    return [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--log-facility=-",
        "--log-dhcp",
        "--port=0",
        f"--interface={namespace.BRIDGE}",
        "--bind-interfaces",
        "--dhcp-authoritative",
        "--no-ping",
        f"--dhcp-range={network},static,{namespace.NETMASK},1h",
        *(f"--dhcp-host={mac.lower()},{address}" for mac, address in machines.items()),
        "--dhcp-boot=pxelinux.0",
        f"--dhcp-option-force={NO_PROXY}",
        "--enable-ra",
        f"--dhcp-range={TO_ALL},ra-only",
        "--enable-tftp",
        f"--tftp-root={tree}",
        f"--dhcp-leasefile={run}/leases",
        "--pid-file=",
        "--user=root",
    ]
