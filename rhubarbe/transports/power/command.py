"""Any program of the site: called with the verb, its exit status and first line are the answer."""

import re
import shlex

from rhubarbe.config.secrets import NO_SECRET, Secret
from rhubarbe.config.section import Section, setting
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.config.values import SECRET, WORD
from rhubarbe.errors import CardError
from rhubarbe.transports.kinds import NODE_ADDRESS, NODE_NAME, REQUIRED, Words
from rhubarbe.transports.power.base import PowerControl, answering
from rhubarbe.transports.power.programs import first_line, run

PLACES = ("{node}", "{verb}", "{address}")


def _words(text: str) -> tuple[str, ...]:
    words = tuple(shlex.split(text))
    others = set(re.findall(r"\{[a-z_]+\}", text)) - set(PLACES)
    if others or not words or not words[0] or not any("{verb}" in word for word in words[1:]):
        raise ValueError(text)
    return words


WORDS = Words(
    "a program and its words, {verb} in one of them, and perhaps {node} and {address}", _words
)


class CommandValues(Section):
    """What the inventory says of a program."""

    command: tuple[str, ...] = setting(WORDS, REQUIRED, "the program and its words: no shell is")
    address: str = setting(WORD, NODE_ADDRESS, "what {address} is, where not the node's")
    node: str = setting(WORD, NODE_NAME, "what {node} is, where not the node's name")
    password: Secret = setting(SECRET, NO_SECRET, "a line that the program can read")


class Command(PowerControl):
    """The program, for one node."""

    takes = CommandValues

    def __init__(
        self, values: CommandValues, answers_within: float, networking: NetworkingSettings
    ) -> None:
        self.name = values.command[0].rpartition("/")[2] or values.command[0]
        self._said = values
        self._within = answers_within

    @classmethod
    def outlet(cls, values: CommandValues, networking: NetworkingSettings) -> object:
        """Return the whole command line, whichever verb it is for."""
        return _filled(values, "status")

    async def ask(self, question: str) -> str:
        """Return the first line that the program answers; of `status`, what `is_on` takes of it."""
        if question == "status":
            return await super().ask(question)
        return await self._told(question)

    async def _told(self, question: str) -> str:
        typed = await self._said.password.reveal() if self._said.password else ""
        async with answering(question, self._within):
            ended = await run(question, _filled(self._said, question), typed=typed)
        answer = first_line(ended.output)
        if ended.status:
            words = first_line(ended.complaint) or answer or "it does not say why"
            how = f"signal {-ended.status}" if ended.status < 0 else f"status {ended.status}"
            raise CardError(f"ends {question} with {how}: {words}")
        return answer

    async def is_on(self) -> bool:
        """Ask for the power state."""
        answer = (await self._told("status")).lower()
        if answer not in ("on", "off"):
            raise CardError(f"answers status with {answer[:40]!r}, expected on or off")
        return answer == "on"

    async def send(self, order: str) -> None:
        """Send an order; raises CardError unless the program ends well."""
        await self._told(order)


def _filled(said: CommandValues, verb: str) -> tuple[str, ...]:
    """Put in what the places stand for, in one go: what is put in stays as it is."""
    meant = dict(zip(PLACES, (said.node, verb, said.address), strict=True))
    place = re.compile("|".join(map(re.escape, PLACES)))
    return tuple(place.sub(lambda found: meant[found[0]], word) for word in said.command)
