"""A program of the site, which switches each machine that it is told of."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import daemons
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.controls.bridge import bridged
from rhubarbe.testbed.site import Site


class Command(ControlKind):
    """The program, and what it speaks to."""

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Write the program, and tell how it is called."""
        program = site.run / "outlet"
        words = daemons.as_text(daemons.switching(site.run.resolve() / "command.bridge", "command"))
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
        said = {"kind": "command", "command": [str(program.resolve()), "{node}", "{verb}"]}
        return {each.number: said for each in names}

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Serve them."""
        async with bridged(site.run / "command.bridge", switches):
            yield
