"""The window of rhubarbe-doctor: a line a finding, and below what is wrong what repairs it."""

from typing import TextIO

from rhubarbe.displays import wording
from rhubarbe.displays.outlet import Outlet
from rhubarbe.events import Event, Finding, Finished, Health, Notice

WORDS = {Health.OK: "ok", Health.WRONG: "WRONG", Health.SKIPPED: "-"}
WIDEST = 13  # of the names of checks


class Checklist:
    """Writes findings as they come on one stream, what else a person should read on another."""

    def __init__(self, findings: TextIO, asides: TextIO) -> None:
        self.outlet = Outlet(findings)
        self._asides = Outlet(asides)
        self.outlets = (self.outlet, self._asides)
        self._wrong = 0

    def show(self, event: Event) -> None:
        """Write a finding, or how many are wrong in the end."""
        if isinstance(event, Finding):
            self._wrong += event.health is Health.WRONG
            self.outlet.write("".join(f"{line}\n" for line in _lines(event)))
        elif isinstance(event, Notice):
            self._asides.write(wording.describe(event) + "\n")
        elif isinstance(event, Finished):
            things = "1 thing is" if self._wrong == 1 else f"{self._wrong} things are"
            verdict = f"{things} wrong" if self._wrong else "all is well"
            self.outlet.write(f"{wording.program(event.command)}: {verdict}\n")

    def tick(self) -> None:
        """Nothing to redraw."""

    def close(self) -> None:
        """Write what is left; the streams belong to whoever opened them."""
        for outlet in self.outlets:
            outlet.end()


def _lines(finding: Finding) -> list[str]:
    gap = " " * (len(WORDS[Health.WRONG]) + WIDEST + 4)
    head = f"{WORDS[finding.health]:<5}  {finding.check:<{WIDEST}}  "
    lines = [head + wording.sanitise(finding.text)]
    if finding.repair:
        who = "as root: " if finding.as_root else "do: "
        lines.append(gap + who + wording.sanitise(finding.repair))
    if finding.advice:
        lines.append(gap + wording.sanitise(finding.advice))
    return lines
