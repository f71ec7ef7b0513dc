"""Power cards over HTTP: one listener a card, plain GET, a bare word as the answer."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Protocol, Self

from aiohttp import web

from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.faults import Faults

POWER = {f"/{key}": key for key in Key}
USRP = ("/usrpon", "/usrpoff")


class Powered(Protocol):
    """What a card needs of the machine whose power it switches."""

    name: str
    faults: Faults

    @property
    def has_power(self) -> bool:
        """Whether the machine is on."""

    def press(self, key: Key) -> None:
        """Switch it; returns at once."""


class Card:
    """The card of one machine, with what it claims and what it does."""

    def __init__(self, hostname: str, machine: Powered, log: Callable[[str], None]) -> None:
        self.hostname = hostname
        self._machine = machine
        self._log = log
        self._claimed: bool | None = None  # the power it shows when it hides the truth
        self._usrp = "usrpoff"

    @property
    def listens(self) -> bool:
        """Whether anything answers at the card's address."""
        return not self._machine.faults.always("card-dead")

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one GET."""
        key = POWER.get(request.path)
        await self._misbehave(request, key)
        if key is not None:
            return _page(self._switch(key))
        if request.path == "/status":
            return _page("on" if self._shows_power() else "off")
        return self._other(request.path)

    async def _misbehave(self, request: web.BaseRequest, key: Key | None) -> None:
        """Meet the faults of the card itself; only commands count down those that wear off."""
        if self._happens("card-dead", key) and request.transport is not None:
            request.transport.abort()
            await asyncio.Event().wait()  # until the server notices
        if self._happens("card-silent", key):
            await asyncio.Event().wait()
        if self._happens("card-500", key):
            raise web.HTTPInternalServerError(text="power controller failure\n")

    def _happens(self, fault: str, key: Key | None) -> bool:
        faults = self._machine.faults
        if not faults.always(fault) and (key is None or not faults.take(fault)):
            return False
        self._log(f"{self._machine.name} card {key or 'question'} meets {fault}")
        return True

    def _switch(self, key: Key) -> str:
        node, faults = self._machine, self._machine.faults
        if faults.take("card-lies"):
            self._log(f"{node.name} card {key} meets card-lies")
        elif faults.take("never-leaves"):
            self._log(f"{node.name} card {key} meets never-leaves")
            self._claimed = key is not Key.OFF
        else:
            self._log(f"{node.name} card {key}")
            self._claimed = None
            node.press(key)
        return "ok"

    def _shows_power(self) -> bool:
        return self._machine.has_power if self._claimed is None else self._claimed

    def _other(self, path: str) -> web.Response:
        if path in USRP:
            self._usrp = path[1:]
            return _page("ok")
        if path == "/usrpstatus":
            return _page(self._usrp)
        if path == "/info":
            power = "on" if self._shows_power() else "off"
            return _page(f"card {self.hostname}\nnode {self._machine.name}\npower {power}")
        raise web.HTTPNotFound(text="no such command\n")


def _page(text: str) -> web.Response:
    # real cards announce no charset and end with a newline
    return web.Response(body=f"{text}\n".encode(), headers={"Content-Type": "text/plain"})


class CardServer:
    """All the cards of a testbed behind one HTTP server; knows a card by its address."""

    def __init__(self, cards: Mapping[str, Card], port: int) -> None:
        self._cards = cards
        self._port = port
        self._ends = AsyncExitStack()

    async def __aenter__(self) -> Self:
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._ends.push_async_callback(server.shutdown, 0.1)
        loop = asyncio.get_running_loop()
        try:
            for address, card in self._cards.items():
                if card.listens:
                    listener = await loop.create_server(server, address, self._port)
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
