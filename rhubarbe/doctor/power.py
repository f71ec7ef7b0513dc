"""What switches the nodes: each is asked whether its node is on, side by side."""

import asyncio

from rhubarbe.doctor.findings import well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import CardError, GatewayError
from rhubarbe.events import Finding
from rhubarbe.inventory import Entry
from rhubarbe.selector import fold
from rhubarbe.text import sanitise

AT_ONCE = 256


async def look(site: Site) -> list[Finding]:
    """Ask all; a line for each that does not say, and one for the others."""
    doors, turns = site.doors(), asyncio.Semaphore(AT_ONCE)

    async def asked(entry: Entry) -> bool | Finding:
        control = doors.power(entry)
        try:
            async with turns:
                return await control.is_on()
        except (CardError, GatewayError) as error:
            advice = (
                "is it plugged in, and its entry in the inventory right?"
                f" ask again: rhubarbe-status {entry.number}"
            )
            text = sanitise(f"{entry.name}: power control {control.name} {error}")
            return wrong(text, advice=advice)

    answers = await asyncio.gather(*map(asked, site.entries))
    told = dict(zip((entry.number for entry in site.entries), answers, strict=True))
    states = {number: answer for number, answer in told.items() if isinstance(answer, bool)}
    on = fold(number for number, is_on in states.items() if is_on) or "none"
    good = [well(f"those of nodes {fold(states)} answer; on: {on}")] if states else []
    return [*good, *(answer for answer in answers if isinstance(answer, Finding))]
