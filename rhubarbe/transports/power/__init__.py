"""Doors to what switches nodes, of several kinds: a file here and a line in the table for each."""

from rhubarbe.transports.kinds import Kinds
from rhubarbe.transports.power.base import PowerControl, PowerState
from rhubarbe.transports.power.inputs import Complaint, Inputs

__all__ = ["CONTROLS", "KINDS", "Complaint", "Inputs", "PowerControl", "PowerState"]

KINDS: dict[str, str] = {
    "cmc": "rhubarbe.transports.power.cmc.Cmc",
    "command": "rhubarbe.transports.power.command.Command",
    "ipmi": "rhubarbe.transports.power.ipmi.Ipmi",
    "none": "rhubarbe.transports.power.by_hand.ByHand",
    "redfish": "rhubarbe.transports.power.redfish.Redfish",
    "snmp": "rhubarbe.transports.power.snmp.Snmp",
    "wol": "rhubarbe.transports.power.wol.Wol",
}

CONTROLS: Kinds[PowerControl] = Kinds("power", KINDS)
