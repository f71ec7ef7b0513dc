"""Power cards over HTTP: one listener a card, plain GET, a bare word as the answer."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar, Self

from aiohttp import web

from rhubarbe.testbed.addresses import Addresses
from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls.base import ControlKind, Switch
from rhubarbe.testbed.faults import OF_WAYS_TO_CONTROLS
from rhubarbe.testbed.site import Site

POWER = {f"/{key}": key for key in Key}
USRP = ("/usrpon", "/usrpoff")
HALF = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\no"


class Card:
    """The card of one machine, with what it claims and what it does."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._usrp = "usrpoff"

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one GET."""
        key = POWER.get(request.path)
        await self._misbehave(request, key)
        if key is not None:
            self._switch.press(key)
            return _page("ok")
        if request.path == "/status":
            return _page("on" if self._switch.shows_power else "off")
        return self._other(request.path)

    async def _misbehave(self, request: web.BaseRequest, key: Key | None) -> None:
        """Meet the faults of the card itself."""
        if self._switch.meets("card-dead", key) and request.transport is not None:
            request.transport.abort()
            await asyncio.Event().wait()  # until the server notices
        if self._switch.meets("card-silent", key):
            await asyncio.Event().wait()
        await self._switch.think(key)
        if self._switch.meets("card-half", key) and request.transport is not None:
            request.transport.write(HALF)
            request.transport.close()
            await asyncio.Event().wait()  # until the server notices
        if self._switch.meets("card-500", key):
            raise web.HTTPInternalServerError(text="power controller failure\n")

    def _other(self, path: str) -> web.Response:
        if path in USRP:
            self._usrp = path[1:]
            return _page("ok")
        if path == "/usrpstatus":
            return _page(self._usrp)
        if path == "/info":
            switch = self._switch
            power = "on" if switch.shows_power else "off"
            return _page(f"card {switch.names.card}\nnode {switch.name}\npower {power}")
        raise web.HTTPNotFound(text="no such command\n")


def _page(text: str) -> web.Response:
    # real cards announce no charset and end with a newline
    return web.Response(body=f"{text}\n".encode(), headers={"Content-Type": "text/plain"})


class CardServer:
    """All the cards of a testbed behind one HTTP server; knows a card by its address."""

    def __init__(self, switches: Sequence[Switch], port: int) -> None:
        self._switches = switches
        self._cards: Mapping[str, Card] = {each.address: Card(each) for each in switches}
        self._port = port
        self._ends = AsyncExitStack()

    async def __aenter__(self) -> Self:
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._ends.push_async_callback(server.shutdown, 0.1)
        loop = asyncio.get_running_loop()
        try:
            for switch in self._switches:
                if switch.listens:
                    listener = await loop.create_server(server, switch.address, self._port)
                    self._ends.callback(listener.close)
        except BaseException:
            await self._ends.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ends.aclose()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        sockname = request.get_extra_info("sockname")
        if sockname is None:  # gone already
            return _page("")
        return await self._cards[sockname[0]].answer(request)


class Cmc(ControlKind):
    """The cards of the nodes, each at an address of its own."""

    faults: ClassVar = OF_WAYS_TO_CONTROLS - {"card-refuses"}

    async def furnish(
        self, site: Site, addresses: Addresses, names: Sequence[Names]
    ) -> Mapping[int, object]:
        """Tell nothing: `cmc` of a node says where its card is."""
        return {}

    @asynccontextmanager
    async def serving(
        self, site: Site, addresses: Addresses, switches: Sequence[Switch]
    ) -> AsyncIterator[None]:
        """Serve them."""
        async with CardServer(switches, addresses.ports.cmc):
            yield
