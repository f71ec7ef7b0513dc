"""The window of short commands: one line a node, in the order of nodes, once all have answered.

Nodes of which there is the same to say share a line, `1-12,15: on`, unless `verbose`. What is no
node has a line of its own, after them.
"""

from typing import TextIO

from rhubarbe.displays import wording
from rhubarbe.displays.outlet import Outlet
from rhubarbe.events import Event, Finished, NodeAnswered, NodeResult, Notice
from rhubarbe.selector import fold, number_in


class AnswerWriter:
    """Writes the answers on one stream, what else a person should read on another."""

    def __init__(self, answers: TextIO, asides: TextIO, *, verbose: bool = False) -> None:
        self.outlet = Outlet(answers)
        self._asides = Outlet(asides)
        self.outlets = (self.outlet, self._asides)
        self._verbose = verbose
        self._answered: dict[str, NodeAnswered] = {}

    def show(self, event: Event) -> None:
        """Keep an answer; write all of them at the end."""
        if isinstance(event, NodeAnswered):
            self._answered[event.node] = event
        elif isinstance(event, Notice):
            self._asides.write(wording.describe(event) + "\n")
        elif isinstance(event, Finished):
            self._finish(event)

    def tick(self) -> None:
        """Nothing to redraw."""

    def close(self) -> None:
        """Write what is left; the streams belong to whoever opened them."""
        for outlet in self.outlets:
            outlet.end()

    def _finish(self, finished: Finished) -> None:
        groups: dict[tuple[str, bool, str], list[NodeResult]] = {}
        for result in finished.nodes:
            answer = self._answer(result)
            alone = result.node if self._verbose else ""
            groups.setdefault((answer.text, answer.ok, alone), []).append(result)
        for (text, *_), results in groups.items():
            label = self._label(results)
            self._write(label, text)
        nodes = {result.node for result in finished.nodes}
        for answer in self._answered.values():
            if answer.node not in nodes:
                self._write(wording.sanitise(answer.node), answer.text)
        if finished.bad and len(finished.nodes) > 1:
            self._asides.write(f"bad: {finished.bad}\n")

    def _write(self, label: str, text: str) -> None:
        lines = text.splitlines() or [""]
        self.outlet.write("".join(f"{label}: {wording.sanitise(line)}\n" for line in lines))

    def _answer(self, result: NodeResult) -> NodeAnswered:
        """Return what there is to say of a node; for one that did not finish, why."""
        answer = self._answered.get(result.node)
        if answer is None or (answer.ok and not result.ok):
            return NodeAnswered(node=result.node, text=result.reason, ok=False)
        return answer

    def _label(self, results: list[NodeResult]) -> str:
        if len(results) > 1:
            return fold(result.number for result in results)
        node, card = results[0].node, self._answer(results[0]).card
        if not card:
            return wording.sanitise(node)
        same = number_in(card, "") == results[0].number
        return wording.sanitise(card if same else f"{card} ({node})")
