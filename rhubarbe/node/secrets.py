"""Secrets of nodes are asked for before any node is touched: what lacks is no node's fault."""

import asyncio
import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from rhubarbe.concurrency.time_limit import within
from rhubarbe.config import SECTIONS, Settings
from rhubarbe.config.secrets import Secret
from rhubarbe.errors import GatewayError
from rhubarbe.inventory import Entry
from rhubarbe.node.kinds import inputs_of
from rhubarbe.text import and_more
from rhubarbe.transports.netboot import NETBOOTS
from rhubarbe.transports.power import CONTROLS

# Programs that tell secrets, and that may have one helper for all.
AT_ONCE = 8
LOOKED_AT_WITHIN_S = 10.0


async def require_secrets(entries: Iterable[Entry]) -> None:
    """Return once all the secrets of these nodes are known; raises GatewayError."""
    lacking = await lacking_secrets(entries)
    if lacking:
        others = and_more(len(lacking) - 1)
        raise GatewayError(f"{lacking[0]}{others}: nothing was touched")


async def lacking_secrets(entries: Iterable[Entry]) -> list[str]:
    """Ask for all the secrets of these nodes; return a line for each that is not to be had."""
    places: dict[Secret, str] = {}
    for entry in entries:
        for key, secret in secrets_of(entry):
            places.setdefault(secret, f"{entry.name}: {key}")
    turns = asyncio.Semaphore(AT_ONCE)

    async def lack(secret: Secret, place: str) -> str:
        async with turns:
            try:
                await secret.reveal()
            except GatewayError as error:
                return f"{place}: {error}"
        return ""

    lines = await asyncio.gather(*(lack(*each) for each in places.items()))
    return list(filter(None, lines))


def secrets_of(entry: Entry) -> Iterator[tuple[str, Secret]]:
    """Yield the secrets that the inventory says of a node, each with its place there."""
    for part, driver in inputs_of(entry):
        yield from ((f"{part}.{key}", secret) for key, secret in CONTROLS.secrets(driver))
    if entry.netboot is not None:
        for key, secret in NETBOOTS.secrets(entry.netboot):
            yield f"netboot.{key}", secret


def exposed(entries: Iterable[Entry], settings: Settings) -> Iterator[str]:
    """Yield a line for each file that everybody can read, and in which a secret is written."""
    found: dict[str, list[str]] = {}
    inventory = str(settings.testbed.inventory_path)
    for entry in entries:
        for place, secret in secrets_of(entry):
            if secret.is_plain:
                found.setdefault(inventory, []).append(f"{entry.name}: {place}")
    for (section, key), origin in settings.origins.items():
        value = getattr(getattr(settings, section), key) if section in SECTIONS else None
        if isinstance(value, Secret) and value.is_plain:
            path = re.sub(r" \([^ ()]+\)$", "", origin)  # which key of the file it is
            found.setdefault(path, []).append(f"[{section}] {key}")
    for path, places in found.items():
        if _is_for_all(path):
            others = f" and {len(places) - 1} more" if places[1:] else ""
            yield (
                f"{path}: everybody can read the secret in it ({places[0]}{others}):"
                f" chmod o-r {path}, or keep it elsewhere: !file PATH"
            )


def _is_for_all(path: str) -> bool:
    with contextlib.suppress(OSError):  # TimeoutError is one
        return bool(within(LOOKED_AT_WITHIN_S, os.stat, Path(path)).st_mode & stat.S_IROTH)
    return False
