"""Hosts: emulated machines with real daemons, each in namespaces of its own on a private network.

Power and disks are those of the emulated machines; but what a host runs is busybox's telnetd or
OpenSSH's sshd, behind a cable of its own. One process tree is one boot: `unshare` makes namespaces
for network, processes, mounts and name, and the daemon is the first process there, so that the
kernel ends all others with it.
"""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from rhubarbe.annexe.errors import MissingProgram, Misused, ProgramFailed
from rhubarbe.testbed import namespace, programs
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.disk import DiskFile
from rhubarbe.testbed.emulated import Emulated, shell, way_of
from rhubarbe.testbed.shell import Bash
from rhubarbe.testbed.site import Plan, Site
from rhubarbe.testbed.system import KEYS, Boot
from rhubarbe.testbed.way import Way

NEEDED = ("ip", "unshare", "setpriv", "busybox", "sshd", "mke2fs", "bash")
IMPOSSIBLE = "telnet-drops"  # a fault of our own telnet server, where hosts run busybox's
START_LIMIT_S = 15.0  # a daemon must listen by then
LOOK_EVERY_S = 0.02
PRIVILEGE_SEPARATION = Path("/run/sshd")  # which the package's service makes, where there is one
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child")

# What a host does when it is switched on: it waits for the cable, then becomes its daemon.
BOOT = """\
accounts=$1 ip=$2; shift 2
echo here
read -r node address || exit 1
exec >&2 </dev/null
hostname "$node"
mount --bind "$accounts/passwd" /etc/passwd && mount --bind "$accounts/shadow" /etc/shadow || exit 1
"$ip" -batch - <<END || exit 1
link set lo up
addr add $address brd + dev eth0
link set eth0 up
route add 224.0.0.0/4 dev eth0
END
exec "$@"
"""
USERS = "root:x:0:0:root:/:/bin/sh\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
NO_LOGINS = "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n"
SSHD = """\
HostKey {host_key}
AuthorizedKeysFile {authorized_keys}
ForceCommand {command}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitTTY {terminal}
PermitUserRC no
StrictModes no
UsePAM no
UseDNS no
PidFile none
AllowTcpForwarding no
"""


@dataclass(frozen=True, slots=True)
class HostPlace:
    """Where a host is: what it is called, how it is plugged in, and its files."""

    node: str
    address: str
    mac: str
    console: Path  # what its daemons say
    run: Path  # the directory of its configuration, and that of the accounts beside it


class Host:
    """One boot of a host, up to the end of its daemon.

    `command` makes the daemon's configuration, and tells how it is run; `over` is called when the
    daemon ends by itself.
    """

    def __init__(
        self,
        place: HostPlace,
        port: int,
        command: Callable[[], Awaitable[list[str]]],
        tasks: asyncio.TaskGroup,
        over: Callable[[], None] | None = None,
    ) -> None:
        self._place = place
        self._port = port
        self._command = command
        self._tasks = tasks
        self._over = over
        self._cable = ""  # on the bridge's side
        self._first: int | None = None  # a descriptor of the first process in the namespaces
        self._child: asyncio.subprocess.Process | None = None
        self._aborted = False

    async def open(self) -> None:
        """Boot; returns when the daemon listens. Raises OSError or ProgramFailed."""
        words = await self._command()
        child = self._child = await self._start(words)
        self._tasks.create_task(self._watch(child))
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await self._plug_in(child)
                await self._listening(child)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Lose power: nothing more is heard of it, and all its processes end."""
        self._aborted = True
        with suppress(OSError):  # not plugged in yet
            namespace.pull_plug(self._cable)
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        elif self._child is not None and self._child.returncode is None:
            self._child.kill()

    async def _start(self, words: list[str]) -> asyncio.subprocess.Process:
        place = self._place
        unshare = [programs.find("unshare"), *NAMESPACES, "--mount-proc", "--"]
        given = [str(place.run.parent / "accounts"), programs.find("ip")]
        with place.console.open("ab") as console:
            return await asyncio.create_subprocess_exec(
                *namespace.killed_with_us(*unshare, "/bin/sh", "-c", BOOT, "boot", *given, *words),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=console,
                env={"PATH": PATH, "LANG": "C.UTF-8"},
                start_new_session=True,
            )

    async def _plug_in(self, child: asyncio.subprocess.Process) -> None:
        """Lay a cable to the bridge, once the namespaces are there."""
        if child.stdin is None or child.stdout is None or not await child.stdout.readline():
            raise ProgramFailed(f"{self._place.node}: cannot make namespaces")
        self._first = os.pidfd_open(_only_child(child.pid))
        self._cable = f"host{child.pid}"
        namespace.plug_in(self._cable, self._place.mac, child.pid)
        address = f"{self._place.address}/{namespace.PREFIX}"
        child.stdin.write(f"{self._place.node} {address}\n".encode())

    async def _listening(self, child: asyncio.subprocess.Process) -> None:
        while not namespace.listens(child.pid, self._port):
            if child.returncode is not None:
                raise ProgramFailed(f"it ended at once: see {self._place.console}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        if self._first is not None:
            os.close(self._first)
            self._first = None
        if self._over is not None and not self._aborted:
            self._over()


def _only_child(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text())


@dataclass(frozen=True, slots=True)
class HostServices:
    """Real daemons for one host."""

    place: HostPlace
    ports: tuple[int, int]  # telnet, ssh
    bash: Bash
    host_key: Path
    tasks: asyncio.TaskGroup
    authorized: Path | None  # who is let into the ramdisk, by ssh; None where it is by telnet
    way: Way | None

    def ramdisk(self, drops: Callable[[], bool]) -> Host:
        """Make busybox's telnetd, whose shell asks for no login; or sshd with the same shell."""
        if self.authorized is not None:
            return Host(self.place, self.ports[1], self._sshd_of_ramdisk, self.tasks)
        return Host(self.place, self.ports[0], self._telnetd, self.tasks)

    def system(self, disk: DiskFile, halt: Callable[[], None]) -> Host:
        """Make OpenSSH's sshd, which lets in the keys that are on the disk."""

        async def command() -> list[str]:
            return await self._sshd(disk)

        return Host(self.place, self.ports[1], command, self.tasks, over=halt)

    async def _telnetd(self) -> list[str]:
        busybox, port = programs.find("busybox"), str(self.ports[0])
        return [busybox, "telnetd", "-F", "-p", port, "-l", str(self._login())]

    def _login(self) -> Path:
        """Write the program that becomes the ramdisk's shell."""
        bash, login = self.bash, self.place.run / "login"
        login.parent.mkdir(exist_ok=True)
        variables = [f"{name}={value}" for name, value in bash.environment.items()]
        words = ["env", "-i", *variables, bash.program, "--noprofile", "--rcfile", bash.profile]
        line = shlex.join(map(str, [*words, "--noediting", "-i"]))
        login.write_text(f"#!/bin/sh\ncd {shlex.quote(str(bash.directory))} && exec {line}\n")
        login.chmod(0o755)
        return login

    async def _sshd_of_ramdisk(self) -> list[str]:
        return self._serve_ssh(str(self.authorized), str(self._login()), "yes")

    async def _sshd(self, disk: DiskFile) -> list[str]:
        run = self.place.run
        run.mkdir(exist_ok=True)
        (run / "keys").write_bytes(await disk.read(KEYS) or b"")
        boot = Boot()
        answer = programs.python_program("rhubarbe.testbed.forced", "forced")
        way = [str(self.way.path), self.way.node] if self.way is not None else []
        command = shlex.join([*answer, str(disk.path), boot.boot_id, str(boot.started), *way])
        return self._serve_ssh(str(run / "keys"), command, "no")

    def _serve_ssh(self, authorized_keys: str, command: str, terminal: str) -> list[str]:
        settings = self.place.run / "sshd_config"
        settings.write_text(
            SSHD.format(
                host_key=self.host_key,
                authorized_keys=authorized_keys,
                command=command,
                terminal=terminal,
            )
        )
        port = str(self.ports[1])
        return [programs.find("sshd"), "-D", "-e", "-4", "-p", port, "-f", str(settings)]


class Hosts(Emulated):
    """Namespaces instead of loopback addresses, daemons instead of their emulation."""

    noun = "hosts"

    def check(self, plan: Plan) -> None:
        """Raise Misused or MissingProgram for what cannot be done, or not here."""
        if any(fault.name == IMPOSSIBLE for fault in plan.faults):
            raise Misused(f"{IMPOSSIBLE} cannot be made to happen on hosts: their telnetd is real")
        programs.require(NEEDED, root=True, what="--hosts")
        asked = [programs.find("busybox"), "telnetd", "--help"]
        if subprocess.run(asked, capture_output=True, check=False).returncode:
            raise MissingProgram("busybox has no telnetd: apt-get install busybox-static")

    async def furnish(self, site: Site) -> None:
        """Do as for emulated machines, and make what the daemons need."""
        await super().furnish(site)
        _write_accounts(site)

    @asynccontextmanager
    async def network(self, site: Site) -> AsyncIterator[Addresses]:
        """Enter a private network with a bridge."""
        with namespace.private_network(site.directory, Path(sys.executable).parent) as network:
            yield network

    def services(
        self, site: Site, names: Names, addresses: Addresses, tasks: asyncio.TaskGroup
    ) -> HostServices:
        """Make what serves on one host."""
        address = addresses.control(names.number)
        run = site.directory.resolve() / "run"
        place = HostPlace(
            names.node,
            address,
            addresses.mac(names.number, 1),
            run / f"{names.node}.console",
            run / names.node,
        )
        bash = shell(site, names.node, address)
        ports = (addresses.ports.telnet, addresses.ports.ssh)
        authorized = site.key.with_suffix(".pub") if site.plan.ramdisk_shell == "ssh" else None
        return HostServices(
            place=place,
            ports=ports,
            bash=bash,
            host_key=run / "host_key",
            tasks=tasks,
            authorized=authorized,
            way=way_of(site, names),
        )


def _write_accounts(site: Site) -> None:
    """Write what sshd needs: users, and the key that all hosts have."""
    accounts = site.run / "accounts"
    accounts.mkdir()
    (accounts / "passwd").write_text(USERS)
    (accounts / "shadow").write_text(NO_LOGINS)
    host_key = site.run / "host_key"
    host_key.touch(mode=0o600)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(host_key)
    PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
