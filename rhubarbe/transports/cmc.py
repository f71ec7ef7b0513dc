"""Door to the power cards: plain HTTP, one GET a verb, a short text as the answer.

`/status` answers `on` or `off`; `/on`, `/off` and `/reset` answer `ok`. No charset is announced,
and a reset works on a node that is on only.
"""

import asyncio
from collections import deque
from http import HTTPStatus

from rhubarbe.errors import CardError, require_means, why
from rhubarbe.transports.http_get import HttpError, get


class Cards:
    """All power cards of one command."""

    def __init__(self, port: int, limit: float, window: int) -> None:
        """Talk to cards on TCP `port`, with at most `limit` seconds an answer.

        `turn` lets `window` nodes pass within a second.
        """
        self._port = port
        self._limit = limit
        self._window = window
        self._turns: deque[float] = deque()

    async def ask(self, ip: str, verb: str) -> str:
        """Send a verb to the card at `ip` and return its answer, stripped; raises CardError."""
        try:
            async with asyncio.timeout(self._limit):
                answer = await get(ip, self._port, f"/{verb}")
        except TimeoutError as error:
            raise CardError(f"no answer in {self._limit:g} s to {verb}") from error
        except OSError as error:
            require_means(error)
            raise CardError(f"cannot be reached for {verb}: {why(error)}") from error
        except HttpError as error:
            raise CardError(f"answers {verb} {error}") from error
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise CardError(f"answers {verb} with HTTP status {answer.status}")
        return answer.body.decode("utf-8-sig", "replace").strip()

    async def is_on(self, ip: str) -> bool:
        """Ask for the power state; raises CardError also where the answer is neither on nor off."""
        answer = await self.ask(ip, "status")
        if answer not in ("on", "off"):
            raise CardError(f"answers status with {answer[:40]!r}, expected on or off")
        return answer == "on"

    async def turn(self) -> None:
        """Wait until one more node may be reset: not all of a testbed in the same instant."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if len(self._turns) < self._window:
            self._turns.append(now)
            return
        # The time at which the one whose place we take will be a second ago.
        ours = max(now, self._turns.popleft() + 1.0)
        self._turns.append(ours)
        await asyncio.sleep(ours - now)

    async def send(self, ip: str, verb: str) -> None:
        """Send `on`, `off` or `reset`; raises CardError unless the card says ok."""
        answer = await self.ask(ip, verb)
        if answer != "ok":
            raise CardError(f"answers {verb} with {answer[:40]!r}, expected ok")
