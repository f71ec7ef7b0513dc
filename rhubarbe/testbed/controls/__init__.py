"""Power controls of a testbed, of several kinds: a file here and a line in the table for each."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rhubarbe.annexe.errors import Misused

if TYPE_CHECKING:
    from rhubarbe.testbed.controls.base import ControlKind

KINDS: Mapping[str, str] = {
    "cmc": "rhubarbe.testbed.controls.cmc.Cmc",
    "command": "rhubarbe.testbed.controls.command.Command",
    "ipmi": "rhubarbe.testbed.controls.ipmi.Ipmi",
    "redfish": "rhubarbe.testbed.controls.redfish.Redfish",
    "snmp": "rhubarbe.testbed.controls.snmp.Snmp",
    "wol": "rhubarbe.testbed.controls.wol.Wol",
}


def parse(text: str) -> list[str]:
    """Return the kinds of `cmc,redfish`; raises Misused where there is no such kind."""
    kinds = text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise Misused(f"unknown power control {kind[:40]!r}: one of {', '.join(KINDS)}")
    return kinds


def named(kind: str) -> "ControlKind":
    """Return the controls of one kind, which serve nothing yet."""
    module, _, name = KINDS[kind].rpartition(".")
    made: ControlKind = getattr(importlib.import_module(module), name)()
    return made
