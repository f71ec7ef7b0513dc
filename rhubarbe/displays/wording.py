"""From an event to one line of text: plain words that stay the same, so that they can be grepped.

Whatever a node or a program wrote passes through `sanitise` before it can reach a terminal.
"""

import re
from functools import singledispatch

from rhubarbe import events
from rhubarbe.events import Event
from rhubarbe.text import LIMIT as LIMIT
from rhubarbe.text import sanitise as sanitise

_NAMES_LISTED = 64
_ONE_DIGIT = 10
_UNITS = ("bytes", "KiB", "MiB", "GiB")
_QUIET: frozenset[type[Event]] = frozenset({events.PhaseStarted, events.Progress})
_CHATTER: frozenset[type[Event]] = frozenset({events.NodeSaid, events.ServerSaid})


def line(event: Event, *, verbose: bool = False) -> str | None:
    """Word `event` for a person, or None where it is not worth a line.

    What programs on the nodes and the image server write is worth one only when `verbose`.
    """
    if type(event) in _QUIET or (type(event) in _CHATTER and not verbose):
        return None
    if isinstance(event, events.PhaseDone) and event.phase is events.Phase.LINK:
        return None  # it takes no time, and what follows says enough
    return describe(event)


def describe(event: Event) -> str:
    """Word any event, the ones that are not worth a line on a screen included."""
    return sanitise(_words(event))


def closing(finished: events.Finished) -> list[str]:
    """Word the end of a command: the good and the bad set where there are any, and the verdict."""
    sets = [("good", finished.good), ("bad", finished.bad + _reason(finished))]
    return [sanitise(f"{name}: {members}") for name, members in sets if members] + [
        describe(finished)
    ]


def _reason(finished: events.Finished) -> str:
    """Word what all the bad nodes failed for, where that is the same."""
    reasons = {f" ({node.phase}: {node.reason})" for node in finished.nodes if not node.ok}
    return reasons.pop() if len(reasons) == 1 else ""


def program(command: str) -> str:
    """Name a command as it is typed: `load` and `rhubarbe-load` are both `rhubarbe-load`."""
    return sanitise(command if command.startswith("rhubarbe") else f"rhubarbe-{command}")


def amount(size: float) -> str:
    """Word a size in bytes: `412 MiB`, `1.3 GiB`."""
    power = min(3, max(0, int(size).bit_length() - 1) // 10)
    value = size / 1024**power
    decimals = 1 if power and value < _ONE_DIGIT else 0
    return f"{value:.{decimals}f} {_UNITS[power]}"


def count(selection: str) -> int:
    """Count the nodes of a selection as `Finished` carries it: 7 in `1-3,7,10-12`."""
    return sum(_count_word(word) for word in re.split(r"[,\s]+", selection) if word)


def _count_word(word: str) -> int:
    bounds = re.fullmatch(r"\D*(\d+)-\D*(\d+)(?:-(\d+))?", word)
    if bounds is None:
        return 1
    first, last, step = int(bounds[1]), int(bounds[2]), int(bounds[3] or 1)
    return len(range(first, last + 1, step or 1)) or 1


def nodes(number: int) -> str:
    """Word a number of nodes: `1 node`, `12 nodes`."""
    return f"{number} node" if number == 1 else f"{number} nodes"


@singledispatch
def _words(event: Event) -> str:
    return str(event)  # an event that nobody has worded yet must not break a command


@_words.register
def _(event: events.Started) -> str:
    names = event.nodes
    if len(names) > _NAMES_LISTED:
        return f"Selection: {nodes(len(names))} from {names[0]} to {names[-1]}"
    return f"Selection: {' '.join(names) or 'no node'}"


@_words.register
def _(event: events.ImageChosen) -> str:
    return f"Loading image {event.path} ({amount(event.size)})"


@_words.register
def _(event: events.ImageServed) -> str:
    place = f"{event.group} port {event.port}"
    return f"Image server ready on {place}, {event.bandwidth_mibps} Mibps"


@_words.register
def _(event: events.ServerSaid) -> str:
    return f"image server says: {event.line}"


@_words.register
def _(event: events.CollectorReady) -> str:
    return f"Collecting {event.path} on {event.address} port {event.port}"


@_words.register
def _(event: events.ImageSaved) -> str:
    return f"Saved image {event.path} ({amount(event.size)})"


@_words.register
def _(event: events.Notice) -> str:
    return event.text


@_words.register
def _(event: events.Finding) -> str:
    repair = f"; {'as root' if event.as_root else 'do'}: {event.repair}" if event.repair else ""
    advice = f" ({event.advice})" if event.advice else ""
    return f"{event.check}: {event.health}: {event.text}{repair}{advice}"


@_words.register
def _(event: events.PhaseStarted) -> str:
    return f"{event.node}: {event.phase}: started"


@_words.register
def _(event: events.PhaseDone) -> str:
    return f"{event.node}: {event.phase}: done in {event.seconds:.1f} s"


@_words.register
def _(event: events.NodeNoted) -> str:
    return f"{event.node}: {event.text}"


@_words.register
def _(event: events.NodeSaid) -> str:
    return f"{event.node} says: {event.line}"


@_words.register
def _(event: events.StrangersSeen) -> str:
    return f"{event.node}: strangers on the network: {event.text}"


@_words.register
def _(event: events.Progress) -> str:
    return f"{event.node}: {event.percent:.1f} %"


@_words.register
def _(event: events.NodeAnswered) -> str:
    return f"{event.card or event.node}: {event.text}"


@_words.register
def _(event: events.NodeSucceeded) -> str:
    return f"{event.node}: ok in {event.seconds:.1f} s"


@_words.register
def _(event: events.NodeRetried) -> str:
    return f"{event.node}: {retry(event)}"


@_words.register
def _(event: events.NodeFailed) -> str:
    return f"{event.node}: FAILED in {failure(event)}"


@_words.register
def _(event: events.Finished) -> str:
    good, bad = count(event.good), count(event.bad)
    if event.exit_code == 0:
        verdict = f"all went well on {nodes(good)}" if good else "all went well"
        if again := sum(node.attempts > 1 for node in event.nodes):
            verdict += f", of which {again} in a second round"
    else:
        verdict = f"FAILED on {bad} of {nodes(good + bad)}" if bad else "FAILED"
    return f"{program(event.command)}: {verdict} in {event.seconds:.0f} s"


def retry(event: events.NodeRetried) -> str:
    """Word why a node is tried once more, without its name."""
    return sanitise(f"round {event.attempt} begins, after {event.phase}: {event.reason}")


def failure(event: events.NodeFailed) -> str:
    """Word where and why a node failed, without its name: `ramdisk: no answer (last line: …)`."""
    last_line = f" (last line: {event.last_line})" if event.last_line else ""
    return sanitise(f"{event.phase}: {event.reason}{last_line}")
