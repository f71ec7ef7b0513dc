"""What is told of one node while a command works on it: phases with their times, and notes."""

import contextlib
import time
from collections.abc import AsyncIterator

from rhubarbe import dialogue
from rhubarbe.bus import Bus
from rhubarbe.concurrency.paced import TimeLimit
from rhubarbe.errors import Unreachable
from rhubarbe.events import Event, NodeNoted, Phase, PhaseDone, PhaseStarted
from rhubarbe.text import sanitise, size_of


class Steps:
    """The steps of a command on one node, as the bus hears of them.

    Where an error is caught, `phase` tells in which phase it was raised.
    """

    def __init__(self, name: str, bus: Bus) -> None:
        self.name = name
        self.phase = Phase.LINK
        self.last_line = ""
        self.spent: dict[Phase, float] = {}
        self.last_note = ""
        self._told = dialogue.Share()
        self._bus = bus

    def report(self, event: Event) -> None:
        """Tell the bus."""
        self._bus.report(event)

    def note(self, text: str) -> None:
        """Report a detail of what is being done, unless it is the same as before."""
        if text != self.last_note:
            self.last_note = text
            if self.may_tell(text):
                self.report(NodeNoted(node=self.name, text=sanitise(text)))

    def may_tell(self, words: str) -> bool:
        """Tell whether more of a node's words may be shown; report once that no more are."""
        if self._told.allows(words):
            return True
        if not self._told.is_used_up:
            self._told.is_used_up = True
            text = f"says more than {size_of(dialogue.MOST_TOLD)}: the rest is not told"
            self.report(NodeNoted(node=self.name, text=text))
        return False

    @contextlib.asynccontextmanager
    async def enter(
        self, phase: Phase, limit_s: float | None = None, what: str = ""
    ) -> AsyncIterator[TimeLimit]:
        """Go through a phase in at most `limit_s` seconds; `what` says what did not happen then.

        No limit is for a phase whose steps have their own; yields the limit, which may be put off.
        """
        self.begin(phase)
        started = time.monotonic()
        limit = TimeLimit(limit_s)
        try:
            async with limit.timeout:
                yield limit
        except TimeoutError as error:
            if not limit.timeout.expired():
                raise
            raise Unreachable(f"{what} in {limit.seconds:g} s") from error
        finally:
            seconds = time.monotonic() - started
            self.spent[phase] = self.spent.get(phase, 0.0) + seconds
        self.report(PhaseDone(node=self.name, phase=phase, seconds=seconds))

    def begin(self, phase: Phase) -> None:
        """Begin a phase, and report it."""
        self.phase = phase
        self.report(PhaseStarted(node=self.name, phase=phase))
