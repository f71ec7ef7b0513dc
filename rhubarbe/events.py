"""The vocabulary of the feedback bus: one frozen dataclass a fact.

An event says what has just happened, in the past; `node` is always the node's full control name
(`fit01`), never an address. Events carry no time: whoever shows or logs one notes when it came.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """The steps of a node on its way; the value is the word that users see."""

    LINK = "link"
    POWER = "power"
    RESET = "reset"
    RAMDISK = "ramdisk"
    DISK = "disk"
    IMAGE = "image"
    STAMP = "stamp"
    BOOT = "boot"
    SSH = "ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that the bus carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent(Event):
    """A fact about one node."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The first event of a command, before anything is touched."""

    command: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChosen(Event):
    """A load found its image and has checked it; `size` in bytes, `chunks` of 1 MiB."""

    path: str
    size: int
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageServed(Event):
    """The image server said that it is ready, on a group (or our own address) and a port."""

    group: str
    port: int
    bandwidth_mibps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSaid(Event):
    """One line that the image server wrote."""

    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorReady(Event):
    """A save listens on the gateway and writes into `path`, whose name says that it is partial."""

    address: str
    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSaved(Event):
    """A whole, checked image now has its final name; `size` in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something about the command as a whole that a person should read."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted(NodeEvent):
    """A node entered a phase."""

    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseDone(NodeEvent):
    """A node came well out of a phase, which took `seconds`."""

    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNoted(NodeEvent):
    """A detail of what is being done to a node, in our own words."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSaid(NodeEvent):
    """One line that a program on the node wrote: untrusted, with control characters removed."""

    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangersSeen(NodeEvent):
    """A node noticed on the network what others sent than our server, or in its name.

    What was forged was not written. `addresses` are those that it names: that of our server, where
    it was forged; `text` is in the words of the program there.
    """

    addresses: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(NodeEvent):
    """How much of the image the node has, 0.0 to 100.0; never goes backwards in one attempt."""

    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAnswered(NodeEvent):
    """What there is to say of a node that was asked, or given an order; perhaps several lines.

    Where it is not `ok`, `text` is the reason, and `card` the power card that is to blame, if one
    is. It was written by the card: untrusted.
    """

    text: str
    ok: bool = True
    card: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSucceeded(NodeEvent):
    """All that the command had to do on this node went well, in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRetried(NodeEvent):
    """A node failed in a phase, and all is done on it once more: `attempt` 2 begins, or 3, ..."""

    phase: Phase
    reason: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(NodeEvent):
    """The command gave this node up; `last_line` is the last thing that the node said, or empty."""

    phase: Phase
    reason: str
    last_line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeResult:
    """How a command ended on one node; `phase` and `reason` say where and why it failed.

    `attempts` is 2 for a node that needed a second round; `phases` has the seconds spent in each
    phase, all rounds together. A node that failed is `blameless` where the gateway or the image was
    at fault.
    """

    node: str
    number: int
    ok: bool
    seconds: float
    attempts: int = 1
    phase: Phase | None = None
    reason: str = ""
    phases: Mapping[Phase, float] = field(default_factory=dict)
    blameless: bool = False


class Health(StrEnum):
    """How a thing was found that was looked at."""

    OK = "ok"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Event):
    """What `check` found of the gateway or of what it talks to.

    What is wrong has in `repair` the command that repairs it, which is for root where `as_root`
    says so; where no command can do it, `advice` says in words what to do.
    """

    check: str
    health: Health
    text: str
    repair: str = ""
    as_root: bool = False
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The last event of a command: the good and the bad nodes in selection syntax (`1-3,7`).

    `nodes` has what became of each, in the order of nodes.
    """

    command: str
    good: str
    bad: str
    exit_code: int
    seconds: float
    nodes: tuple[NodeResult, ...] = ()
