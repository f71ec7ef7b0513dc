"""What a gateway offers to machines that boot from the network: DHCP and TFTP by dnsmasq; HTTP.

BIOS is given pxelinux, UEFI shim, which loads GRUB; iPXE its script, where machines are to have it.

iPXE, in the network card of a QEMU machine, waits long for what is not here: for IPv6 routers,
unless one says that it has nothing to tell, and for a proxy, unless DHCP says that there is none.
"""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.annexe.errors import MissingProgram, ProgramFailed
from rhubarbe.annexe.programs import last_line
from rhubarbe.testbed import firmware, namespace, programs
from rhubarbe.testbed.site import Site

PXELINUX = Path("/usr/lib/PXELINUX/pxelinux.0")
MODULES = Path("/usr/lib/syslinux/modules/bios")
MODULE_NAMES = ("ldlinux.c32", "chain.c32", "libcom32.c32", "libutil.c32")
KERNEL = ("vmlinuz", "initrd")
PXELINUX_ENTRY = "pxelinux.cfg/pxefrisbee"
LOADERS = (firmware.BOOT_FILE, "grubx64.efi")
GRUB_FILES = ("grub/grub.cfg", "grub/pxefrisbee")
IPXE_SCRIPT = "ipxe/rhubarbe.ipxe"
IPXE_FILES = (IPXE_SCRIPT, "ipxe/pxefrisbee.ipxe")
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
HTTP_PORT = 80
START_LIMIT_S = 10.0
LOOK_EVERY_S = 0.02


def require_pxelinux() -> None:
    """Raise MissingProgram where pxelinux is not installed."""
    if not PXELINUX.exists() or not all((MODULES / name).exists() for name in MODULE_NAMES):
        raise MissingProgram(
            "pxelinux is not installed: apt-get install --no-install-recommends"
            " pxelinux syslinux-common"
        )


def needed(kinds: Iterable[str]) -> list[str]:
    """Return the files of a ramdisk that machines with these kinds of firmware need."""
    kinds = set(kinds)
    return [
        *KERNEL,
        *([PXELINUX_ENTRY] if firmware.BIOS in kinds else []),
        *((*LOADERS, *GRUB_FILES) if kinds & {firmware.UEFI, firmware.SECURE_BOOT} else []),
        *(IPXE_FILES if kinds & set(firmware.BY_SCRIPT) else []),
    ]


def lay_out(site: Site, tree: Path, ramdisk: Path, kinds: Iterable[str]) -> None:
    """Make the tree that TFTP serves, with what these kinds of firmware need.

    `ramdisk` is where a kernel, an initrd and their entries are.
    """
    tree.mkdir()
    files = needed(kinds)
    for name in files:
        if name in (*KERNEL, *LOADERS):
            (tree / name).symlink_to(ramdisk / name)
        else:
            text = re.sub(
                "(?m)^(APPEND|linux|kernel) .*",
                rf"\g<0> {FOR_A_BUSY_HOST}",
                (ramdisk / name).read_text(),
            )
            (site.directory / name).write_text(text)
    (tree / "pxelinux.cfg").symlink_to(site.boot_entries)
    (tree / "grub").symlink_to(site.grub_entries)
    (tree / "ipxe").symlink_to(site.ipxe_entries)
    if firmware.IPXE_UEFI in kinds:
        (tree / firmware.SNP_ONLY.name).symlink_to(firmware.SNP_ONLY)
    if PXELINUX_ENTRY in files:
        for source in (PXELINUX, *(MODULES / name for name in MODULE_NAMES)):
            shutil.copy(source, tree)
        (site.boot_entries / "default").write_text(DEFAULT_ENTRY)
    entries = (site.boot_entries, site.grub_entries, site.ipxe_entries)
    for path in (tree, *(path for each in (tree, *entries) for path in each.iterdir())):
        if not path.is_symlink():
            path.chmod(DIRECTORY_MODE if path.is_dir() else FILE_MODE)


@dataclass(frozen=True, slots=True)
class Client:
    """One machine: its addresses, and the kind of its firmware."""

    mac: str
    address: str
    kind: str

    @property
    def option(self) -> str:
        """How dnsmasq is told of it."""
        script = "http" if self.kind in firmware.BY_HTTP else "tftp"
        tags = f",set:scripted,set:{script}" if self.kind in firmware.BY_SCRIPT else ""
        return f"--dhcp-host={self.mac.lower()}{tags},{self.address}"


@asynccontextmanager
async def serving(tree: Path, run: Path, clients: Sequence[Client]) -> AsyncIterator[None]:
    """Serve DHCP and TFTP on the bridge, and HTTP where it is asked for; raises ProgramFailed."""
    namespace.ip(f"addr add {TO_ALL}1/64 dev {namespace.BRIDGE} nodad\n")
    words = namespace.killed_with_us_across_setuid(
        programs.find("dnsmasq"), *_options(tree, run, clients)
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            _running(
                words,
                run / "dnsmasq.log",
                lambda pid: all(namespace.has_datagrams(pid, port) for port in PORTS),
            )
        )
        if any(client.kind in firmware.BY_HTTP for client in clients):
            web = ["-m", "http.server", "--bind", namespace.GATEWAY, "--directory", f"{tree}"]
            await stack.enter_async_context(
                _running(
                    namespace.killed_with_us(sys.executable, "-u", *web, f"{HTTP_PORT}"),
                    run / "http.log",
                    lambda pid: namespace.listens(pid, HTTP_PORT),
                )
            )
        yield


@asynccontextmanager
async def _running(
    words: list[str], log: Path, is_up: Callable[[int], bool]
) -> AsyncIterator[None]:
    """Run a server, from when it is up; raises ProgramFailed."""
    with log.open("wb") as said:
        child = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while not is_up(child.pid):
                if child.returncode is not None:
                    raise ProgramFailed(last_line(await asyncio.to_thread(log.read_text)))
                await asyncio.sleep(LOOK_EVERY_S)
        yield
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


def _options(tree: Path, run: Path, clients: Iterable[Client]) -> list[str]:
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
        *(client.option for client in clients),
        "--dhcp-boot=pxelinux.0",
        *(
            f"--dhcp-match=set:uefi,option:client-arch,{number}"
            for number in firmware.CLIENT_ARCHITECTURES
        ),
        "--dhcp-match=set:ipxe,175",  # an option that nobody else has
        f"--dhcp-boot=tag:uefi,tag:!scripted,{firmware.BOOT_FILE}",
        f"--dhcp-boot=tag:uefi,tag:scripted,tag:!ipxe,{firmware.SNP_ONLY.name}",
        f"--dhcp-boot=tag:ipxe,tag:http,http://{namespace.GATEWAY}/{IPXE_SCRIPT}",
        f"--dhcp-boot=tag:ipxe,tag:tftp,{IPXE_SCRIPT}",
        f"--dhcp-option-force={NO_PROXY}",
        "--enable-ra",
        f"--dhcp-range={TO_ALL},ra-only",
        "--enable-tftp",
        f"--tftp-root={tree}",
        f"--dhcp-leasefile={run}/leases",
        "--pid-file=",
        "--user=root",
    ]
