"""What switches the nodes: each is asked whether its node is on, side by side."""

import asyncio
import contextlib

from rhubarbe.doctor.findings import nodes, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.events import Finding
from rhubarbe.inventory import Entry
from rhubarbe.node.power import Complaint, PowerState
from rhubarbe.node.secrets import lacking_secrets
from rhubarbe.selector import fold
from rhubarbe.text import sanitise

AT_ONCE = 256
# A control gives up by itself, and in its own words; no one of them hides what the others say.
SETTLES_S = 0.5


async def look(site: Site) -> list[Finding]:
    """Ask all; a line for each that does not say, or whose secret lacks, and one for the others."""
    until = asyncio.get_running_loop().time() + site.limit_s + SETTLES_S
    if lacking := await _lacking(site):
        return [wrong(line, advice="see what the inventory says of it") for line in lacking]
    doors, turns = site.doors(), asyncio.Semaphore(AT_ONCE)

    async def asked(entry: Entry) -> PowerState | list[Finding]:
        inputs = doors.power(entry)
        silent = Complaint(f"{inputs.name}: no answer in {site.limit_s:g} s", is_ours=False)
        state, complaints = None, [silent]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until), turns:
                state, complaints = await inputs.examined()
        return [_wrong(entry, each) for each in complaints] if state is None else state

    answers = await asyncio.gather(*map(asked, site.entries))
    told = dict(zip((entry.number for entry in site.entries), answers, strict=True))
    states = {number: state for number, state in told.items() if isinstance(state, PowerState)}
    on = fold(number for number, state in states.items() if state is PowerState.ON) or "none"
    good = [well(f"that of {nodes(states)} answers; on: {on}")] if states else []
    return good + [each for answer in answers if isinstance(answer, list) for each in answer]


async def _lacking(site: Site) -> list[str]:
    """Return a line for each secret that is not to be had; a keyring may wait for a person."""
    try:
        async with asyncio.timeout(site.limit_s):
            return await lacking_secrets(site.entries)
    except TimeoutError as error:
        raise TimeoutError("a program that tells a secret") from error


def _wrong(entry: Entry, complaint: Complaint) -> Finding:
    question = "is it plugged in, and its entry in the inventory right?"
    if complaint.is_ours:
        question = "it was not asked: mend that on this gateway, or in the inventory;"
    elif complaint.is_refusal:
        question = "does the inventory say the user and the password that it lets in by?"
    advice = f"{question} ask again: rhubarbe-status {entry.number}"
    return wrong(sanitise(f"{entry.name}: power control {complaint.line}"), advice=advice)
