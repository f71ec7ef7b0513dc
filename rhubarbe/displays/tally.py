"""Where each node stands, and all of them together: what the bar and the board have in common."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import singledispatchmethod

from rhubarbe import events
from rhubarbe.displays import wording
from rhubarbe.events import Event


class NodeState(StrEnum):
    """What a node is doing, in the word that users see; in the order of interest."""

    FAILED = "failed"
    BUSY = "busy"
    WAITING = "waiting"
    DONE = "done"


@dataclass(slots=True)
class NodeRecord:
    """One node: its state, its phase (empty before the first), its percentage if it has one."""

    name: str
    state: NodeState = NodeState.WAITING
    phase: str = ""
    percent: float | None = None
    last_word: str = ""

    @property
    def over(self) -> bool:
        """Nothing more is awaited from this node."""
        return self.state in (NodeState.DONE, NodeState.FAILED)


class Tally:
    """Adds up the events of one command; each costs the same whatever the number of nodes."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeRecord] = {}
        self.has_progress = False

    def take(self, event: Event) -> None:
        """Take one event into account."""
        self._take(event)

    def counts(self) -> Counter[NodeState]:
        """Count the nodes in each state."""
        return Counter(record.state for record in self.nodes.values())

    def percent(self) -> float:
        """Tell how far the nodes that may still succeed are, on average, from 0.0 to 100.0."""
        awaited = [r.percent or 0.0 for r in self.nodes.values() if r.state is not NodeState.FAILED]
        return min(100.0, sum(awaited) / len(awaited)) if awaited else 0.0

    @singledispatchmethod
    def _take(self, event: Event) -> None:
        pass

    @_take.register
    def _(self, event: events.Started) -> None:
        for name in event.nodes:
            self._record(name)

    @_take.register
    def _(self, event: events.ImageChosen) -> None:
        self.has_progress = True

    @_take.register
    def _(self, event: events.CollectorReady) -> None:
        self.has_progress = True

    @_take.register
    def _(self, event: events.PhaseStarted) -> None:
        record = self._record(event.node)
        if not record.over:
            record.state, record.phase = NodeState.BUSY, event.phase
            record.last_word = ""

    @_take.register
    def _(self, event: events.PhaseDone) -> None:
        self._hear(event.node, f"{event.phase} done in {event.seconds:.1f} s")

    @_take.register
    def _(self, event: events.NodeNoted) -> None:
        self._hear(event.node, event.text)

    @_take.register
    def _(self, event: events.NodeSaid) -> None:
        self._hear(event.node, event.line)

    @_take.register
    def _(self, event: events.Progress) -> None:
        self.has_progress = True
        record = self._record(event.node)
        if not record.over:
            record.state = NodeState.BUSY
            record.percent = min(100.0, max(0.0, event.percent))

    @_take.register
    def _(self, event: events.NodeSucceeded) -> None:
        record = self._record(event.node)
        record.state, record.percent = NodeState.DONE, 100.0
        record.last_word = f"ok in {event.seconds:.1f} s"

    @_take.register
    def _(self, event: events.NodeRetried) -> None:
        record = self._record(event.node)
        record.state, record.percent = NodeState.BUSY, None
        record.last_word = wording.retry(event)

    @_take.register
    def _(self, event: events.NodeFailed) -> None:
        record = self._record(event.node)
        record.state, record.phase = NodeState.FAILED, event.phase
        record.last_word = wording.failure(event)

    def _hear(self, name: str, words: str) -> None:
        record = self._record(name)
        if not record.over:
            record.last_word = wording.sanitise(words)

    def _record(self, name: str) -> NodeRecord:
        if name not in self.nodes:
            self.nodes[name] = NodeRecord(wording.sanitise(name))
        return self.nodes[name]
