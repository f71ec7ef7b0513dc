"""The programs of net-snmp: one question, or one order, to an agent.

What lets in is in no argument, in no variable and in no file: they find their configuration by a
link to memory, in a directory of ours.
"""

import asyncio
import re
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rhubarbe.concurrency.program import Ended
from rhubarbe.concurrency.threads import to_the_end
from rhubarbe.errors import (
    CardError,
    CardRefused,
    GatewayError,
    RhubarbeError,
    require_means,
    why,
)
from rhubarbe.transports.power import programs
from rhubarbe.transports.power.snmp_values import SnmpValues

# A datagram that is lost is sent again after a second, until we do not wait any more.
PATIENCE = ("-t", "1", "-r", "60")
# What would be done twice is sent once.
ONCE = ("-t", "60", "-r", "0")
# In version 3, an answer to what was sent before counts for nothing once it is sent again. There,
# another run of the program asks again, so much later, then twice as much; any may be answered.
AGAIN_S = 1.0

# What the programs tell besides.
NEWS = ("Created directory", "Error in packet", "Failed object")

_REFUSED = re.compile(
    r"Authentication failure|Unknown user name|[Uu]nsupported security level|length requirements"
    r"|authorizationError|noAccess|notWritable|readOnly|Decryption error"
)
_UNKNOWN = re.compile(r"No Such (?:Instance|Object)|noSuchName|inconsistentName|noCreation")


async def get(said: SnmpValues, verb: str, oid: str) -> str:
    """Return the value at an OID, as it is written; raises CardError, GatewayError."""
    answer = await _run(said, verb, "snmpget", [oid], once=False)
    if _UNKNOWN.search(answer):
        raise CardError(f"answers {verb} that it has no outlet {said.outlet}: {answer}")
    return answer


async def set_(said: SnmpValues, verb: str, oid: str, value: int, *, once: bool) -> None:
    """Set the value at an OID; raises CardError, GatewayError."""
    await _run(said, verb, "snmpset", [oid, "i", str(value)], once=once)


async def _run(
    said: SnmpValues, verb: str, program: str, arguments: Sequence[str], *, once: bool
) -> str:
    by_runs = said.version == "3" and not once
    patience = ONCE if by_runs or once else PATIENCE
    words = [program, *patience, "-v", said.version, "-m", "", "-Oqve", said.agent, *arguments]
    text = await said.configuration()
    with programs.in_memory(text) as file:
        async with _private(programs.path_of(file)) as directory:

            async def ask() -> Ended:
                return await programs.run(
                    verb,
                    words,
                    package="snmp",
                    environ={"SNMPCONFPATH": str(directory), "SNMP_PERSISTENT_DIR": str(directory)},
                    pass_fds=(file,),
                )

            ended = await (_first_answer(ask) if by_runs else ask())
    if ended.status:
        raise _error(said, verb, ended.complaint.decode(errors="replace"))
    return programs.first_line(ended.output).strip('"')


async def _first_answer(ask: Callable[[], Awaitable[Ended]]) -> Ended:
    """Ask, again and again as long as there is no answer; return the first, or raise its error."""
    answers: asyncio.Queue[Ended | RhubarbeError] = asyncio.Queue()

    async def asked() -> None:
        try:
            answers.put_nowait(await ask())
        except RhubarbeError as error:
            answers.put_nowait(error)

    async with asyncio.TaskGroup() as group:
        running = []
        pause_s = AGAIN_S
        while answers.empty():
            running.append(group.create_task(asked()))
            await asyncio.wait(running, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            pause_s *= 2
        for each in running:
            each.cancel()
    answer = answers.get_nowait()
    if isinstance(answer, RhubarbeError):
        raise answer
    return answer


def _error(said: SnmpValues, verb: str, complaint: str) -> CardError:
    """Word why it did not work, without what says nothing of the agent."""
    lines = [line for line in complaint.splitlines() if not line.startswith(NEWS)]
    complaint = " ".join(lines)
    if _REFUSED.search(complaint):
        return CardRefused(f"refuses {verb}: {complaint}")
    if _UNKNOWN.search(complaint):
        return CardError(f"refuses {verb}, or has no outlet {said.outlet}: {complaint}")
    return CardError(f"fails to do {verb}: {complaint.strip() or 'it does not say why'}")


@asynccontextmanager
async def _private(configuration: str) -> AsyncIterator[Path]:
    """Hold a directory in which the programs find this configuration, and nobody else's."""
    directory = Path(tempfile.gettempdir()) / f"rhubarbe-snmp-{secrets.token_hex(8)}"
    try:
        try:
            await to_the_end(_make, directory, configuration)
        except OSError as error:
            require_means(error)
            raise GatewayError(f"{directory}: cannot be made: {why(error)}") from error
        yield directory
    finally:
        await to_the_end(_remove, directory)


def _make(directory: Path, configuration: str) -> None:
    directory.mkdir(mode=0o700)
    (directory / "snmp.conf").symlink_to(configuration)


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
