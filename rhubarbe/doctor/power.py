"""What switches the nodes: each is asked whether its node is on, side by side."""

import asyncio

from rhubarbe.doctor.findings import nodes, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import CardError, GatewayError
from rhubarbe.events import Finding
from rhubarbe.inventory import Entry
from rhubarbe.node.power import PowerState
from rhubarbe.node.secrets import lacking_secrets
from rhubarbe.selector import fold
from rhubarbe.text import sanitise

AT_ONCE = 256


async def look(site: Site) -> list[Finding]:
    """Ask all; a line for each that does not say, or whose secret lacks, and one for the others."""
    if lacking := await lacking_secrets(site.entries):
        return [wrong(line, advice="see what the inventory says of it") for line in lacking]
    doors, turns = site.doors(), asyncio.Semaphore(AT_ONCE)

    async def asked(entry: Entry) -> PowerState | list[Finding]:
        inputs = doors.power(entry)
        async with turns:
            try:
                return await inputs.state()
            except (CardError, GatewayError) as error:
                lines = await inputs.complaints() or [f"{inputs.name}: {error}"]
                is_ours = isinstance(error, GatewayError)
                return [_wrong(entry, line, is_ours=is_ours) for line in lines]

    answers = await asyncio.gather(*map(asked, site.entries))
    told = dict(zip((entry.number for entry in site.entries), answers, strict=True))
    states = {number: state for number, state in told.items() if isinstance(state, PowerState)}
    on = fold(number for number, state in states.items() if state is PowerState.ON) or "none"
    good = [well(f"that of {nodes(states)} answers; on: {on}")] if states else []
    return good + [each for answer in answers if isinstance(answer, list) for each in answer]


def _wrong(entry: Entry, complaint: str, *, is_ours: bool) -> Finding:
    question = "is it plugged in, and its entry in the inventory right?"
    if is_ours:
        question = "it was not asked: mend that on this gateway, or in the inventory;"
    elif " refuses " in complaint and " no answer " not in complaint:  # all kinds say it so
        question = "does the inventory say the user and the password that it lets in by?"
    advice = f"{question} ask again: rhubarbe-status {entry.number}"
    return wrong(sanitise(f"{entry.name}: power control {complaint}"), advice=advice)
