"""Devices that are plugged into outlets of PDUs: asked, or switched, and seen to do it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError, NodeError
from rhubarbe.events import Finished, NodeAnswered, Phase
from rhubarbe.gateway.state.locks import hold
from rhubarbe.node import Doors, Node
from rhubarbe.node.devices import DeviceDoors, entry_of
from rhubarbe.node.doors import SESSIONS
from rhubarbe.node.power import PowerState
from rhubarbe.node.secrets import require_secrets
from rhubarbe.node.system import LETS_IN_S
from rhubarbe.operations.command import Command
from rhubarbe.operations.power import BUSY_S, reason_of
from rhubarbe.outlets import Device

STATUS = "status"
OFF, FAILED = 1, 255
"""Exit codes as sites know them: all is on, or was done, is 0."""
# A system that no longer answers may still write its disks.
HALTS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """What to do with which devices: `status`, `on`, `off`, or `reset`, which is off, then on.

    `limit` is for the answer of a PDU where it is asked, else for the whole command.
    """

    verb: str
    devices: Sequence[Device]
    limit: float | None = None
    lock_wait_s: float = 0.0


async def attend(
    request: DeviceRequest, settings: Settings, bus: Bus, doors: Doors | None = None
) -> None:
    """Do it, and end with `Finished`; raises RhubarbeError before any is touched, or never."""
    nodes = settings.nodes
    asks = request.verb == STATUS
    answer = (request.limit if asks else None) or nodes.cmc_default_timeout
    softly = nodes.soft_off_timeout + HALTS_WITHIN_S + LETS_IN_S
    limit = answer + BUSY_S if asks else request.limit or nodes.cmc_safe_timeout + softly
    entries = [entry_of(device) for device in request.devices]
    doors = doors or DeviceDoors(settings, answer)
    command = Command(f"pdu {request.verb}", entries, limit, doors, bus)
    command.begin()
    await require_secrets(entries)
    if asks:
        await command.warn_without_lease()
        await _finish(request, command)
        return
    await command.require_lease()
    async with command.locked(request.lock_wait_s):
        await _finish(request, command)


async def _finish(request: DeviceRequest, command: Command) -> None:
    started, code = time.monotonic(), FAILED
    try:
        async with asyncio.timeout(command.limit):
            found = await tell(request.verb, request.devices, command.doors, command.bus)
        code = _exit_code(request.verb, found)
    except TimeoutError:
        command.notice(f"not done within the time limit of {command.limit:g} s")
    finally:
        seconds = time.monotonic() - started
        command.bus.report(
            Finished(command=command.name, good="", bad="", exit_code=code, seconds=seconds)
        )


async def switch_off(devices: Sequence[Device], lock_wait_s: float, command: Command) -> bool:
    """Switch devices off at the end of another command; tell whether all of them are."""
    settings, limit = command.settings, command.settings.nodes.cmc_safe_timeout
    names = [device.name for device in devices]
    try:
        await require_secrets(map(entry_of, devices))
        async with hold(command.state_dir, command.name, names, lock_wait_s):
            async with asyncio.timeout(limit):
                found = await tell("off", devices, DeviceDoors(settings), command.bus)
    except TimeoutError:
        command.notice(f"{', '.join(names)}: not off within {limit:g} s")
        return False
    except GatewayError as error:
        command.notice(str(error))
        return False
    return None not in found


def _exit_code(verb: str, found: Sequence[PowerState | None]) -> int:
    if None in found:
        return FAILED
    return 0 if verb != STATUS or set(found) <= {PowerState.ON} else OFF


async def tell(
    verb: str, devices: Sequence[Device], doors: Doors, bus: Bus
) -> list[PowerState | None]:
    """Do it with all devices, and report what came of each, in their order.

    Return how each is now; None for one that did not do it, or of which nobody knows.
    """
    turns = asyncio.Semaphore(SESSIONS)

    async def one(device: Device) -> tuple[NodeAnswered, PowerState | None]:
        node = Node(entry_of(device), doors, bus)
        state: PowerState | None = None
        try:
            async with turns:
                text, state = await _done(verb, device, node)
        except (NodeError, GatewayError) as error:
            text = reason_of(error) if isinstance(error, NodeError) else str(error)
        is_known = state is not None and state is not PowerState.UNKNOWN
        answer = NodeAnswered(node=device.name, text=text, ok=is_known)
        return answer, state if is_known else None

    found = await asyncio.gather(*map(one, devices))
    for answer, _ in found:
        bus.report(answer)
    return [state for _, state in found]


async def _done(verb: str, device: Device, node: Node) -> tuple[str, PowerState]:
    """Do it with one device; return what to say of it, and how it is now. Raises NodeError."""
    if verb == STATUS:
        async with node.enter(Phase.POWER):
            state = await node.power.state()
            return await node.power.ask(STATUS), state
    if verb == "on":
        return await node.power.turn_on(), PowerState.ON
    said = await _switched_off(device, node)
    if verb == "off":
        return said, PowerState.OFF
    await node.power.turn_on()
    return said.replace("off", "reset", 1), PowerState.ON


async def _switched_off(device: Device, node: Node) -> str:
    lack = ""
    async with node.enter(Phase.POWER):
        if device.ssh_hostname and await node.power.is_on():
            lack = await _shut_down(node)
        said = await node.power.turn_off()
    return f"{said} (no soft shutdown: {lack})" if lack else said


async def _shut_down(node: Node) -> str:
    """Have its system shut down, and wait for that; return why it did not, if so.

    Of that, the outlet shows nothing: so the system must cease to answer, and has some time more.
    """

    async def is_gone() -> bool:
        return not await node.system.is_up()

    lack = await node.system.shut_down(is_gone)
    if not lack:
        await asyncio.sleep(HALTS_WITHIN_S)
    return lack
