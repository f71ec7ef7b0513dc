"""What a check has to say: that a thing is well, or what is wrong with it, and the repair."""

import re
from collections.abc import Iterable

from rhubarbe.events import Finding, Health
from rhubarbe.selector import fold

# The end of a sentence that tells its own cure, as messages of the whole suite do.
_CURE = re.compile(r"; (as root|do): (?P<command>.+)$", re.DOTALL)


def nodes(numbers: Iterable[int]) -> str:
    """Name nodes as a sentence does: `node 3`, `nodes 1-3,7`."""
    found = list(numbers)
    return f"node {found[0]}" if len(found) == 1 else f"nodes {fold(found)}"


def well(text: str) -> Finding:
    """Say that a thing is as it should be; `examine` adds the name of the check."""
    return Finding(check="", health=Health.OK, text=text)


def wrong(text: str, repair: str = "", *, as_root: bool = True, advice: str = "") -> Finding:
    """Say what is wrong, and the command that repairs it, for root as a rule; or an advice."""
    return Finding(
        check="",
        health=Health.WRONG,
        text=text,
        repair=repair,
        as_root=as_root and bool(repair),
        advice=advice,
    )


def skipped(text: str) -> Finding:
    """Say why a thing cannot be looked at."""
    return Finding(check="", health=Health.SKIPPED, text=text)


def told(sentence: str, advice: str = "") -> Finding:
    """Take a sentence that ends in its cure, if it has one."""
    cure = _CURE.search(sentence)
    if cure is None:
        return wrong(sentence, advice=advice)
    return wrong(sentence[: cure.start()], cure["command"], as_root=cure[1] == "as root")


def all_of(sentences: Iterable[str], otherwise: str, advice: str = "") -> list[Finding]:
    """Return a finding a sentence; where there is none, say that all is well in these words."""
    return [told(sentence, advice) for sentence in sentences] or [well(otherwise)]
