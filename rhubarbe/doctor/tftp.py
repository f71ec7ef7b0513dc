"""TFTP: whether a boot entry, a link to it, the kernel and the initrd are really served.

A server's root is not known here. So it is asked for a boot entry by its path from each directory
above, until it answers with the very file.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.doctor.boot_files import LONGEST_ENTRY, files_in
from rhubarbe.doctor.findings import skipped, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.places import quoted
from rhubarbe.gateway.checks.tftp import BLOCK, NO_ANSWER, NOT_FOUND, PORT, Server, TftpError
from rhubarbe.gateway.services.addresses import why_not_ours
from rhubarbe.inventory import Entry
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import is_there, read_file, status_of
from rhubarbe.transports.netboot import Link

NOBODY = "none"
# Kinds of netboot whose files another server may have.
BY_OTHERS = frozenset({"ipxe"})
NOBODY_S_MAC = "00:00:00:00:00:00"
SERVICES = ("dnsmasq", "tftpd-hpa", "atftpd")


async def look(site: Site) -> list[Finding]:
    """Ask for each boot entry once, and for what it names."""
    said = site.settings.pxelinux.tftp_server
    if said == NOBODY:
        return [skipped("tftp_server = none in [pxelinux]")]
    address, _, port = (said or site.address).partition(":")
    if not address:
        return [skipped("we have no address towards the nodes: see network")]
    server = Server(address, int(port or PORT), site.limit_s / 3)
    links: dict[Path, tuple[Entry, Link]] = {}
    for entry, link in site.links():
        links.setdefault(link.path.parent / link.entry, (entry, link))
    found: list[Finding] = []
    for place, (entry, link) in links.items():
        found += await _Asked(site, server, place, entry, link).findings()
    return found or [skipped("these nodes boot otherwise than by files of ours")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One boot entry, as a server gives it."""

    site: Site
    server: Server
    place: Path
    entry: Entry
    link: Link

    async def findings(self) -> list[Finding]:
        try:
            content = await in_passing(self.site.limit_s, self._content)
        except TimeoutError:
            raise
        except OSError:
            return [skipped(f"{self.place} cannot be read: see boot-entries")]
        try:
            name = await self._name(content)
        except TftpError as error:
            if self.entry.netboot_driver(self.site.own(self.entry).nodes.netboot).kind in BY_OTHERS:
                return [skipped(f"{self.place}: not by TFTP, so by HTTP, as iPXE may")]
            return [self._fault(self.place, error)]
        return [
            well(f"{self.server.address} serves {self.place} as {name}"),
            *await self._of_link(name, content),
            *await self._files(name, content),
        ]

    def _content(self) -> bytes:
        content = read_file(os.fspath(self.place), LONGEST_ENTRY)
        if content is None:
            raise FileNotFoundError(self.place)
        return content

    async def _name(self, content: bytes) -> str:
        """Return what the server calls the entry; raises the TftpError that tells most."""
        names = list(_names(self.place))
        answers = await asyncio.gather(
            *(self.server.read(name, len(content) + 1) for name in names), return_exceptions=True
        )
        faults: list[TftpError] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, bytes) and answer == content:
                return name
            if isinstance(answer, TftpError):
                faults.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                raise TftpError(f"what it has as {name} is another file", 0)
        telling = [fault for fault in faults if fault.code not in (NO_ANSWER, NOT_FOUND)]
        raise next(iter(telling or faults))

    async def _of_link(self, name: str, content: bytes) -> list[Finding]:
        """Make a link for a node that there is not, as a load does, and ask for it."""
        nobody = replace(self.entry, control=replace(self.entry.control, mac=NOBODY_S_MAC))
        own = self.site.own(self.entry)
        links = self.site.doors().netboot(nobody, own).links
        link = next(each for each in links if each.path.parent / each.entry == self.place)
        called = str(PurePath(name).parent / link.path.name)
        try:
            await in_passing(self.server.within_s, link.make)
        except OSError:
            return []  # `links` tells why
        try:
            answer = await self.server.read(called, len(content) + 1)
        except TftpError as error:
            return [
                wrong(
                    f"{self.server.address} serves {name}, but no link to it: {error}",
                    advice="without following links no node boots the ramdisk: tftp-secure of"
                    " dnsmasq wants links' targets to be its own user's",
                )
            ]
        finally:
            with contextlib.suppress(OSError):
                await asyncio.shield(in_passing(self.server.within_s, link.remove))
        if answer != content:
            return [wrong(f"{self.server.address} serves another file as {called} than as {name}")]
        return []

    async def _files(self, name: str, content: bytes) -> list[Finding]:
        """Ask for each file that the entry names."""
        found = []
        base = PurePath(name).parent.parent
        for file in files_in(content.decode("utf-8", "replace")):
            try:
                size = await self._first_block(base, file)
            except TftpError as error:
                path = self.place.parent.parent / file.lstrip("/")
                found.append(self._fault(path, error, f", which {self.place} names"))
            else:
                made = f"rhubarbe-ramdisk build --output {quoted(self.place.parent.parent)}"
                empty = wrong(f"{file}, which {self.place} names, is empty", made)
                found.append(well(f"{file} is served") if size else empty)
        return found

    async def _first_block(self, base: PurePath, file: str) -> int:
        """Return how much the first block has, by whatever a loader would call the file."""
        fault = TftpError("no such name", NOT_FOUND)
        for name in dict.fromkeys((str(base / file.lstrip("/")), file, file.lstrip("/"))):
            try:
                return len(await self.server.read(name, BLOCK))
            except TftpError as error:
                fault = error
                if error.code == NO_ANSWER:
                    break
        raise fault

    def _fault(self, path: Path, error: TftpError, whose: str = "") -> Finding:
        """Word why a file is not served, with what repairs that, as far as can be seen here."""
        where = f"{self.server.address} port {self.server.port}"
        text = f"{where} does not serve {path}{whose}: {error}"
        if error.code == NO_ANSWER:
            running = " || ".join(f"systemctl restart {service}" for service in SERVICES)
            return wrong(
                f"{where} does not answer over TFTP, asked for {path}{whose}: {error}",
                running if not why_not_ours(self.server.address) else "",
                advice=f"see who listens (ss -lunp 'sport = :{self.server.port}'), and what a"
                " firewall drops; tftp_server in [pxelinux] names another server",
            )
        if repair := _closed(path):
            return wrong(text, repair)
        if error.code == NOT_FOUND and whose and not is_there(path):
            return wrong(text, f"rhubarbe-ramdisk build --output {quoted(path.parent)}")
        return wrong(text, advice=_advice(path))


def _names(place: Path) -> Iterator[str]:
    """Yield what a server might call a file: its path from each directory above, then whole."""
    parts = place.parts[1:]
    for first in range(len(parts) - 1, -1, -1):
        yield "/".join(parts[first:])
    yield str(place)


def _closed(path: Path) -> str:
    """Return the command that opens a file, and what leads to it, for a server that is not root."""
    try:
        status = status_of(path)
        if status is not None and not status.st_mode & stat.S_IROTH:
            return f"chmod a+r {quoted(path)}"
        for above in path.parents:
            with Directory.open(above, follows=True) as directory:
                if not directory.status.st_mode & stat.S_IXOTH:
                    return f"chmod a+x {quoted(directory.path)}"
    except OSError:
        return ""
    return ""


def _advice(path: Path) -> str:
    return (
        f"is {path} below the server's root (tftp-root of dnsmasq, TFTP_DIRECTORY of tftpd-hpa),"
        " and let through by SELinux (restorecon -R) or AppArmor?"
    )
