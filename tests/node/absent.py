"""Ways to nodes that are not there: what a test gives to an operation in place of `Doors`."""

import asyncio

from rhubarbe.config import Settings
from rhubarbe.inventory import Entry, Interface
from rhubarbe.transports.power import Inputs


def entry(number=1, **said):
    """Return a node of an inventory; its addresses are of networks that nobody has."""
    return Entry(
        number,
        Interface(f"fit{number:02}", f"192.0.2.{number}", f"02:00:00:00:00:{number:02x}"),
        Interface(f"reboot{number:02}", f"198.51.100.{number}", ""),
        None,
        **said,
    )


class Silence:
    """Where nothing answers: each question and order fails the test that did not expect it."""

    name = "reboot01"
    patience = 0.0
    has_usrp = False
    is_by_hand = False
    where = ""

    def __getattr__(self, name):
        raise AssertionError(f"asked for {name}")


class AbsentDoors:
    """Doors to what a test has in place of nodes; whatever it has not is not to be asked.

    `power`, `netboot` and `system` are what the doors of these names open. `presence` is what was
    seen of a node, `listens` says who accepts a connection at a port.
    """

    def __init__(
        self,
        settings=None,
        *,
        power=None,
        netboot=None,
        system=None,
        shell=None,
        presence=None,
        listens=lambda entry, port: True,
    ):
        self.settings = settings or Settings()
        self.sessions = asyncio.Semaphore(16)
        self._power = Inputs([power or Silence()])
        self._netboot = netboot or Silence()
        self._system = system or Silence()
        self._shell = shell
        self._presence = presence
        self._listens = listens

    def power(self, entry):
        return self._power

    def netboot(self, entry, settings):
        return self._netboot

    def shell(self, entry, settings):
        return self._shell(entry)

    def system(self, entry, user):
        return self._system

    async def accepts(self, entry, port, limit):
        return self._listens(entry, port)

    async def presence(self, entry, limit):
        return self._presence

    async def turn(self):
        """All at once."""
