"""Door to the power cards: plain HTTP, one GET a verb, a short text as the answer.

`/status` answers `on` or `off`; `/on`, `/off` and `/reset` answer `ok`. No charset is announced,
and a reset works on a node that is on only.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rhubarbe.errors import CardError, require_means, why

if TYPE_CHECKING:
    import aiohttp

# Far more than a card has to say; a card that sends more is broken.
LONGEST_ANSWER = 65536


async def _body(answer: "aiohttp.ClientResponse") -> bytes:
    """Return the whole body, in however many pieces it comes; raises CardError when too long."""
    body = b""
    while piece := await answer.content.read(LONGEST_ANSWER):
        body += piece
        if len(body) > LONGEST_ANSWER:
            raise CardError(f"answers with more than {LONGEST_ANSWER} bytes")
    return body


def _reason(error: Exception) -> str:
    """Word why there is no connection, as the system does; the library repeats the address."""
    import aiohttp

    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return why(cause) if isinstance(cause, OSError) and cause.errno else str(error)


class Cards:
    """All power cards of one command, behind one HTTP session; an async context manager."""

    def __init__(self, port: int, limit: float, window: int) -> None:
        """Talk to cards on TCP `port`, with at most `limit` seconds an answer.

        `turn` lets `window` nodes pass within a second.
        """
        self._port = port
        self._limit = limit
        self._window = window
        self._turns: deque[float] = deque()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        import aiohttp  # who asks no card need not wait for it

        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._limit),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, ip: str, verb: str) -> str:
        """Send a verb to the card at `ip` and return its answer, stripped; raises CardError."""
        if self._session is None:
            raise RuntimeError("Cards must be entered before they are asked")

        import aiohttp

        url = f"http://{ip}:{self._port}/{verb}"
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                text = (await _body(answer)).decode("utf-8", "replace").strip()
                if answer.status != HTTPStatus.OK:
                    raise CardError(f"answers {verb} with HTTP status {answer.status}")
                return text
        except TimeoutError as error:
            raise CardError(f"no answer in {self._limit:g} s to {verb}") from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, OSError):
                require_means(error)
            raise CardError(f"cannot be reached for {verb}: {_reason(error)}") from error

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
