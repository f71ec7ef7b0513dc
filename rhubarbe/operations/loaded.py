"""What each node was loaded with last. Pure: runs of the history in, images out."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from rhubarbe.events import Phase
from rhubarbe.gateway.state.history import NodeRun

SUFFIX = ".ndz"
# A load that failed before these left the disk as it was; after them, the image was there.
BEFORE = frozenset({Phase.LINK, Phase.RESET, Phase.RAMDISK, Phase.DISK})
AFTER = frozenset({Phase.STAMP, Phase.BOOT, Phase.SSH})


@dataclass(frozen=True, slots=True)
class Loaded:
    """The image of a node: its path, when that load began, and whether all of it was written."""

    path: str
    started: float
    whole: bool

    @property
    def name(self) -> str:
        """The image's name without its suffix."""
        return PurePath(self.path).name.removesuffix(SUFFIX)

    def is_called(self, wanted: str) -> bool:
        """Tell whether `wanted` is this image: a name, with or without suffix, or its path."""
        name = self.name
        return self.whole and wanted in (name, name + SUFFIX, self.path)


def last_loaded(runs: Iterable[NodeRun]) -> dict[str, Loaded]:
    """Return what each node holds by its last load; `runs` are in the order of time."""
    found: dict[str, Loaded] = {}
    for run in runs:
        if run.command == "load" and run.image and (run.ok or run.phase not in BEFORE):
            whole = run.ok or run.phase in AFTER
            found[run.node] = Loaded(run.image, run.started, whole)
    return found
