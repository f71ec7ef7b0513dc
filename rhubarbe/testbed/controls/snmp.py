"""PDUs by SNMP 3: a snmpd of net-snmp for each machine, which shows an outlet as APC's do."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rhubarbe.testbed import programs
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import daemons, outside
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.site import Site

PORT = 6161
USER = "outlets"
AGENT = """\
agentaddress udp:{address}:{port}
createUser {user} SHA-256 "{password}" AES "{password}"
rwuser {user} authPriv
rwcommunity "{password}"
pass_persist {oid} {outlet}
"""
# Only these of its parts: the others look at this machine, and take their time.
PARTS = "vacm_conf,usmConf,usmUser,snmpEngine,pass_persist"
READY = "NET-SNMP version"


@asynccontextmanager
async def simulated(
    directory: Path, bridge: Path, node: str, place: tuple[str, int], password: str
) -> AsyncIterator[None]:
    """Serve the power of one machine at this place, with files in a directory of its own."""
    words = _laid_out(directory, bridge, node, place, password)
    log = directory / "log"

    async def is_ready() -> bool:
        return READY in log.read_text(errors="replace")

    async with daemons.serving(words, log, is_ready):
        yield


def _laid_out(
    directory: Path, bridge: Path, node: str, place: tuple[str, int], password: str
) -> list[str]:
    """Write what it reads, and return its command line."""
    directory.mkdir()
    configuration = directory / "snmpd.conf"
    outlet = daemons.as_text(daemons.switching(bridge, "outlet", node))
    said = {"address": place[0], "port": place[1], "oid": outside.OUTLETS, "outlet": outlet}
    daemons.write_hidden(configuration, AGENT.format(**said, user=USER, password=password))
    # In a directory of ours it keeps how often it was started, and keys made of the password.
    environment = ["env", f"SNMP_PERSISTENT_DIR={directory}", "MIBS="]
    files = ["-C", "-c", str(configuration)]
    return [*environment, programs.find("snmpd"), "-f", "-Lo", *files, "-I", PARTS]


class Snmp(ControlKind):
    """The outlets of the nodes."""

    programs = ("snmpd",)

    def __init__(self) -> None:
        self._password = ""

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Tell where they are, and whom they let in."""
        password = site.run / "snmp.password"
        self._password = daemons.new_password(password)
        return {
            each.number: {
                "kind": "snmp",
                "make": "apc",
                "address": addresses.card(each.number),
                "port": PORT,
                "outlet": each.number,
                "version": 3,
                "user": USER,
                "password": f"!file {password.resolve()}",
                "privacy": f"!file {password.resolve()}",
                "authentication": "SHA-256",
            }
            for each in names
        }

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Serve them."""
        async with daemons.of_each(simulated, "snmp", site, switches, PORT, self._password):
            yield
