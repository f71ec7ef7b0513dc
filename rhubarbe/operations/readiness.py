"""What there is to wait for: how many nodes are ready, and whether one runs a certain image."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.bus import Bus
from rhubarbe.errors import ImageError, Unreachable
from rhubarbe.events import NodeFailed, NodeNoted, NodeSucceeded, Notice
from rhubarbe.inventory import Entry
from rhubarbe.repository import OpenImage, Stamp, find_image, parse_stamps, provenance
from rhubarbe.repository.inside import RootPartition
from rhubarbe.selector import fold

# Seconds between two notices on who is ready, and how many different answers are quoted.
TOLD_EVERY_S = 5.0
MOST_ANSWERS = 4


class Readiness:
    """Keeps count of the nodes that are ready, and of what the others answer."""

    def __init__(self, entries: list[Entry], bus: Bus) -> None:
        self._bus = bus
        self._answers = {entry.name: "no answer yet" for entry in entries}
        self._numbers = {entry.name: entry.number for entry in entries}
        self._total = len(entries)
        self._ready = 0
        self._events = bus.subscribe()

    async def follow(self) -> None:
        """Listen to the bus until cancelled."""
        async for event in self._events:
            if isinstance(event, NodeNoted) and event.node in self._answers:
                self._answers[event.node] = event.text
            elif isinstance(event, NodeSucceeded):
                self._ready += 1
                self._answers.pop(event.node, None)
            elif isinstance(event, NodeFailed):
                self._answers[event.node] = event.reason

    async def tell(self) -> None:
        """Report how it stands, every few seconds in which that changed, until cancelled."""
        told = ""
        while True:
            await asyncio.sleep(TOLD_EVERY_S)
            if (words := self.words()) != told:
                told = words
                self._bus.report(Notice(text=words))

    def words(self) -> str:
        """Say how it stands: `2 of 12 nodes ready; 3-12: no answer yet`."""
        groups: dict[str, list[int]] = {}
        for name, answer in self._answers.items():
            groups.setdefault(answer, []).append(self._numbers[name])
        most = sorted(groups.items(), key=lambda group: (-len(group[1]), group[1]))
        said = [f"{fold(numbers)}: {answer}" for answer, numbers in most[:MOST_ANSWERS]]
        rest = [number for _, numbers in most[MOST_ANSWERS:] for number in numbers]
        said += [f"{fold(rest)}: other answers"] * bool(rest)
        return "; ".join([f"{self._ready} of {self._total} nodes ready", *said])


@dataclass(frozen=True, slots=True)
class WantedImage:
    """An image that a node is to run: known by the stamp in it, else by its name in a stamp."""

    name: str
    stamp: Stamp | None

    @classmethod
    def look_up(
        cls, wanted: str, repository: str | Path, root: RootPartition | None = None
    ) -> "WantedImage":
        """Read the stamp of an image, on its `root`; one that is not here is known by its name.

        Reads a file: for a thread. Raises ImageError for an image without a stamp.
        """
        try:
            found = find_image(wanted, repository)
        except ImageError:
            return cls(wanted.removesuffix(".ndz"), None)
        with OpenImage(found) as image:
            stamps = provenance(image.file, root)
            path = image.path
        if not stamps:
            raise ImageError(
                f"{path}: has no stamp by which a node that runs it could be told:"
                " rhubarbe-load --wait can tell by the time of the boot"
            )
        return cls(path.name.removesuffix(".ndz"), stamps[-1])

    def require(self, text: str) -> Stamp:
        """Return the last stamp in /etc/rhubarbe-image of a node; raises Unreachable.

        It is tried again then, since the node may be about to boot what it was loaded with.
        """
        stamps = parse_stamps(text)
        if not stamps:
            raise Unreachable("ssh answers, but from a system without a stamp")
        shown = stamps[-1]
        if shown != self.stamp if self.stamp else shown.image != self.name:
            raise Unreachable(f"ssh answers, but from image {shown.image} ({shown.when})")
        return shown
