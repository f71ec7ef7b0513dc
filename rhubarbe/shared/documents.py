"""JSON that a stranger wrote: as deep as ours is, and no deeper; no key is there twice."""

import json
import re
from typing import Any

DEEPEST = 8
LONGEST_QUOTE = 80

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def parse(text: str, deepest: int = DEEPEST) -> Any:
    """Return what JSON tells; raises ValueError for what is none, or is nested too deep.

    Of a key that is there twice, no reader sees what others see: that is refused, too.
    """
    depth = 0
    for letter in re.sub(r"[^][{}]", "", _STRING.sub("", text)):
        depth += 1 if letter in "[{" else -1
        if depth > deepest:
            raise ValueError(f"nested more than {deepest} deep")
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"key {key[:LONGEST_QUOTE]!r} for the second time")
        made[key] = value
    return made
