"""A program of the site, which switches each machine that it is told of."""

import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import daemons
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.controls.bridge import bridged
from rhubarbe.testbed.site import Site

PROGRAM = """\
#!/bin/sh
if ! read -r said || ! read -r known <{password} || [ "$said" != "$known" ]; then
    echo "wrong password" >&2
    exit 1
fi
exec {words} "$@"
"""


class Command(ControlKind):
    """The program, and what it speaks to."""

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Write the program, and tell how it is called."""
        program, password = site.run / "outlet", site.run / "command.password"
        daemons.new_password(password)
        words = daemons.as_text(daemons.switching(site.run.resolve() / "command.bridge", "command"))
        program.write_text(
            PROGRAM.format(password=shlex.quote(str(password.resolve())), words=words)
        )
        program.chmod(0o755)
        said = {
            "kind": "command",
            "command": [str(program.resolve()), "{node}", "{verb}"],
            "password": f"!file {password.resolve()}",
        }
        return {each.number: said for each in names}

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Serve them."""
        async with bridged(site.run / "command.bridge", switches):
            yield
