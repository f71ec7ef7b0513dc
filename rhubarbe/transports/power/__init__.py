"""Doors to what switches nodes, of several kinds: a file here and a line in the table for each."""

from rhubarbe.transports.kinds import Kinds
from rhubarbe.transports.power.base import PowerControl

__all__ = ["CONTROLS", "KINDS", "PowerControl"]

KINDS: dict[str, str] = {
    "cmc": "rhubarbe.transports.power.cmc.Cmc",
}

CONTROLS: Kinds[PowerControl] = Kinds("power", KINDS)
