"""Controllers by IPMI 2.0: an ipmi_sim of openipmi for each machine, at an address of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rhubarbe.testbed import programs
from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls import daemons
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.site import Site

PORT = 6230
USER = "operator"
# One management controller, and users that it lets in: by cipher suite 3, no other works there.
LAN = """\
name "{node}"
set_working_mc 0x20
startlan 1
  addr {address} {port}
  priv_limit admin
  allowed_auths_operator md5
  allowed_auths_admin md5
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "{chassis}"
user 2 true "{user}" "{password}" operator 10 md5
"""
CONTROLLER = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
mc_enable 0x20
"""
# ASF presence ping, which is answered without a session.
PING = bytes.fromhex("0600ff06000011be80000000")
PONG_LIMIT_S = 0.2


@asynccontextmanager
async def simulated(
    directory: Path, bridge: Path, node: str, place: tuple[str, int], password: str
) -> AsyncIterator[None]:
    """Serve the power of one machine at this place, with files in a directory of its own."""
    words = _laid_out(directory, bridge, node, place, password)

    async def is_ready() -> bool:
        return await _answers(place)

    async with daemons.serving(words, directory / "log", is_ready):
        yield


def _laid_out(
    directory: Path, bridge: Path, node: str, place: tuple[str, int], password: str
) -> list[str]:
    """Write what it reads, and return its command line."""
    directory.mkdir()
    network, controller = directory / "lan.conf", directory / "controller"
    chassis = daemons.as_text(daemons.switching(bridge, "chassis", node))
    said = {"node": node, "address": place[0], "port": place[1], "chassis": chassis}
    daemons.write_hidden(network, LAN.format(**said, user=USER, password=password))
    controller.write_text(CONTROLLER)
    files = ["-c", str(network), "-f", str(controller), "-s", str(directory)]
    return [programs.find("ipmi_sim"), "-n", *files]


async def _answers(place: tuple[str, int]) -> bool:
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(place)
            async with asyncio.timeout(PONG_LIMIT_S):
                await loop.sock_sendall(asking, PING)
                return bool(await loop.sock_recv(asking, 64))
        except OSError:  # TimeoutError is one
            return False


class Ipmi(ControlKind):
    """The controllers of the nodes."""

    programs = ("ipmi_sim",)

    def __init__(self) -> None:
        self._password = ""

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Tell where they are, and whom they let in."""
        password = site.run / "ipmi.password"
        self._password = daemons.new_password(password)
        return {
            each.number: {
                "kind": "ipmi",
                "address": addresses.card(each.number),
                "port": PORT,
                "user": USER,
                "password": f"!file {password.resolve()}",
            }
            for each in names
        }

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Serve them."""
        async with daemons.of_each(simulated, "ipmi", site, switches, PORT, self._password):
            yield
