"""The system of a machine booted from its disk; it knows what is on that disk, no more."""

import shlex
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from rhubarbe.testbed.disk import DiskFile
from rhubarbe.testbed.way import Way

KEYS = "/root/.ssh/authorized_keys"
CommandResult = tuple[int, str]
# What has a machine switched that nothing else switches.
ORDERS = {"poweroff": "off", "reboot": "reset"}
COMPLAINTS = {"card-refuses": "Permission denied", "card-500": "Input/output error"}


@dataclass(frozen=True, slots=True)
class Boot:
    """Which boot this is, and when it was, by the clock that counts from the host's own."""

    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: float = field(default_factory=time.monotonic)


class EmulatedSystem:
    """A running system: answers a few commands from its disk; `halt` switches its machine off.

    `way` is how its commands have the machine switched, where nothing else does.
    """

    def __init__(
        self,
        disk: DiskFile,
        halt: "Callable[[], None]",
        boot: Boot | None = None,
        way: Way | None = None,
    ) -> None:
        self.disk = disk
        self._halt = halt
        self._boot = boot or Boot()
        self._way = way
        self._commands: dict[str, Callable[[list[str]], Awaitable[CommandResult]]] = {
            "cat": self._cat,
            "echo": self._echo,
            "false": self._false,
            "hostname": self._hostname,
            "ls": self._ls,
            "shutdown": self._shutdown,
            "true": self._true,
            "uname": self._uname,
            "uptime": self._uptime,
            "whoami": self._whoami,
        }

    async def run(self, command: str | None) -> CommandResult:
        """Run a command line: its exit status, and its output with the errors in it."""
        try:
            words = shlex.split(command or "")
        except ValueError as error:
            return 2, f"sh: {error}\n"
        if not words:
            return 1, "this machine has no interactive shell: give a command\n"
        name = words[0].rpartition("/")[2]
        if self._way is not None and name in ORDERS:
            return await self._ordered(self._way, name)
        program = self._commands.get(name)
        if program is None:
            return 127, f"sh: {words[0]}: command not found\n"
        return await program(words[1:])

    async def _content(self, path: str) -> bytes | None:
        if path == "/proc/sys/kernel/random/boot_id":
            return f"{self._boot.boot_id}\n".encode()
        if path == "/proc/uptime":
            return f"{time.monotonic() - self._boot.started:.2f} 0.00\n".encode()
        return await self.disk.read(path)

    async def _cat(self, words: list[str]) -> CommandResult:
        status, output = 0, ""
        for path in words:
            content = await self._content(path)
            if content is None:
                status = 1
                output += f"cat: {path}: No such file or directory\n"
            else:
                output += content.decode(errors="replace")
        return status, output

    async def _ls(self, words: list[str]) -> CommandResult:
        status, output = 0, ""
        for path in [word for word in words if not word.startswith("-")] or ["/root"]:
            names = await self.disk.names(path)
            if names is None:
                status = 2
                output += f"ls: cannot access '{path}': No such file or directory\n"
            else:
                output += "".join(f"{name}\n" for name in names)
        return status, output

    async def _hostname(self, _: list[str]) -> CommandResult:
        return await self._cat(["/etc/hostname"])

    async def _uname(self, words: list[str]) -> CommandResult:
        return 0, "Linux emulated #1 x86_64\n" if "-a" in words else "Linux\n"

    async def _uptime(self, _: list[str]) -> CommandResult:
        return 0, f"up {time.monotonic() - self._boot.started:.0f} seconds\n"

    async def _echo(self, words: list[str]) -> CommandResult:
        return 0, " ".join(words) + "\n"

    async def _whoami(self, _: list[str]) -> CommandResult:
        return 0, "root\n"

    async def _shutdown(self, _: list[str]) -> CommandResult:
        self._halt()
        return 0, ""

    async def _ordered(self, way: Way, program: str) -> CommandResult:
        try:
            said = await way.ask(ORDERS[program])
        except OSError as error:
            return 1, f"{program}: {error}\n"
        return (0, "") if said == "ok" else (1, f"{program}: {COMPLAINTS.get(said, said)}\n")

    async def _true(self, _: list[str]) -> CommandResult:
        return 0, ""

    async def _false(self, _: list[str]) -> CommandResult:
        return 1, ""
