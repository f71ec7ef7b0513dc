"""Verbs of rhubarbe 9.5 that there are not here, with what there is instead."""

_MONITOR = "rhubarbe status --json and rhubarbe nodes --up tell how nodes are, when asked"
_RELAY = "what is behind a relay may be a device in inventory_pdus_path"

LEFT_OUT_VERBS = {
    "monitor": _MONITOR,
    "monitornodes": _MONITOR,
    "monitorphones": "phones are left out",
    "monitorpdus": "rhubarbe pdu status tells how devices are, when asked",
    "accountsmanager": "accounts are the gateway's own; [leases] says who may use the testbed",
    "relay": _RELAY,
    "relaysapi": _RELAY,
}
