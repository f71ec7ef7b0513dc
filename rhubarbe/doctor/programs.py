"""The programs that a load needs on this gateway: where they are, and of which version."""

import asyncio
from dataclasses import dataclass

from rhubarbe.concurrency.program import Flood, run_program
from rhubarbe.config import Settings
from rhubarbe.config.settings import EngineName
from rhubarbe.doctor.findings import well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import GatewayError, why
from rhubarbe.events import Finding
from rhubarbe.gateway.processes.programs import find_program
from rhubarbe.text import sanitise

VERSION_WITHIN_S = 5.0
LONGEST_WORDS = 100
MOST_SAID = 1 << 16
UNKNOWN = "does not say of which version it is"


@dataclass(frozen=True, slots=True)
class Program:
    """A program, which setting names it, and the Debian package that has it."""

    name: str
    setting: str
    package: str = ""


def needed(settings: Settings) -> list[Program]:
    """Return the programs that the configured engine needs here."""
    of_engines = {
        EngineName.FRISBEE: Program(settings.frisbee.server, "server in [frisbee]"),
        EngineName.UDPCAST: Program(settings.udpcast.sender, "sender in [udpcast]", "udpcast"),
        EngineName.ARIA2: Program(settings.aria2.seeder, "seeder in [aria2]", "aria2"),
    }
    return [of_engines[settings.frisbee.engine]]


async def look(site: Site) -> list[Finding]:
    """Find each, and run it with `--version`."""
    return [await _found(program, site.limit_s) for program in needed(site.settings)]


async def _found(program: Program, limit_s: float) -> Finding:
    try:
        path = find_program(program.name, program.setting)
    except GatewayError as error:
        if program.package:
            return wrong(str(error), f"apt-get install {program.package}")
        return wrong(str(error), advice=f"correct {program.setting}, or install that program")
    try:
        words = await version_of(path, min(limit_s, VERSION_WITHIN_S))
    except OSError as error:
        return wrong(f"{path}: cannot be run: {why(error)}", f"chmod a+rx {path}")
    return well(f"{path}: {words}")


async def version_of(path: str, limit_s: float) -> str:
    """Return what a program says to `--version` first, if anything; raises OSError."""
    try:
        async with asyncio.timeout(limit_s):
            ended = await run_program([path, "--version"], most=MOST_SAID)
    except (TimeoutError, Flood):
        return UNKNOWN
    lines = (ended.output or ended.complaint).decode("utf-8", "replace").strip().splitlines()
    return sanitise(lines[0], LONGEST_WORDS) if lines else UNKNOWN
