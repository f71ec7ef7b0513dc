"""A power card by plain HTTP: one GET a verb, a short text as the answer.

`/status` answers `on` or `off`; `/on`, `/off` and `/reset` answer `ok`. No charset is announced,
and a reset works on a node that is on only.
"""

from http import HTTPStatus

from rhubarbe.config.section import Section, setting
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.config.values import PORT, TEXT
from rhubarbe.errors import CardError
from rhubarbe.transports.http_get import HttpError, get
from rhubarbe.transports.kinds import ADDRESS, REQUIRED
from rhubarbe.transports.power.base import PowerControl, answering


class CmcValues(Section):
    """What the inventory says of a card."""

    address: str = setting(ADDRESS, REQUIRED, "the card's")
    name: str = setting(TEXT, "", "what messages call it, where not by its address")
    port: int | None = setting(PORT, None, "where it listens, where not at cmc_port")


class Cmc(PowerControl):
    """The power card of one node."""

    takes = CmcValues
    has_usrp = True

    def __init__(
        self, values: CmcValues, answers_within: float, networking: NetworkingSettings
    ) -> None:
        self.name = values.name or values.address
        self._ip = values.address
        self._port = values.port or networking.cmc_port
        self._within = answers_within

    @classmethod
    def outlet(cls, values: CmcValues, networking: NetworkingSettings) -> object:
        """Return where the card listens, whatever it is called."""
        return values.address, values.port or networking.cmc_port

    async def ask(self, question: str) -> str:
        """Send a verb to the card and return its answer, stripped."""
        try:
            async with answering(question, self._within):
                answer = await get(self._ip, self._port, f"/{question}")
        except HttpError as error:
            raise CardError(f"answers {question} {error}") from error
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise CardError(f"answers {question} with HTTP status {answer.status}")
        return answer.body.decode("utf-8-sig", "replace").strip()

    async def is_on(self) -> bool:
        """Ask for the power state."""
        answer = await self.ask("status")
        if answer not in ("on", "off"):
            raise CardError(f"answers status with {answer[:40]!r}, expected on or off")
        return answer == "on"

    async def send(self, order: str) -> None:
        """Send an order; raises CardError unless the card says ok."""
        answer = await self.ask(order)
        if answer != "ok":
            raise CardError(f"answers {order} with {answer[:40]!r}, expected ok")
