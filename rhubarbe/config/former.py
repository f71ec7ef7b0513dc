"""Keys that configurations of rhubarbe 9.5, and before, may hold, and ours has not.

Some have another name with us, and count as that. The others have no effect, which is told, with
what there is instead. So a table, and not a guess, tells them from keys of ours that are misspelt.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

# A file may have a key for each of many gateways.
MOST_NAMED = 16
# Of the same meaning; where a file has both, ours counts.
RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "testbed.inventory_nodes_path": "testbed.inventory_path",
        "nodes.status_default_timeout": "nodes.cmc_default_timeout",
    }
)

_PHONES = "phones are left out"
_RELAYS = "relays are left out, but as PDUs of inventory_pdus_path"
_NIGHTLY = "give -t to rhubarbe-load and rhubarbe-wait"
_MONITOR = "there is no monitor; rhubarbe-status and rhubarbe-nodes tell, with --json or --up"
_LEASES = "[leases] says who must have a lease"
_TELNET = "telnet_timeout is for the whole of a try"
LEFT_OUT_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "authorization": "[leases] and [r2labapi] say where leases are",
        "monitor": _MONITOR,
        "sidecar": _MONITOR,
        "pdu": "soft_off_timeout in [nodes] is for devices, too",
        "pdus": "soft_off_timeout in [nodes] is for devices, too",
        "phones": _PHONES,
        "relays": _RELAYS,
    }
)
LEFT_OUT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "testbed.inventory_phones_path": _PHONES,
        "testbed.inventory_relays_path": _RELAYS,
        "testbed.relays_database_folder": _RELAYS,
        "nodes.load_nightly": _NIGHTLY,
        "nodes.load_nightly_timeout": _NIGHTLY,
        "nodes.wait_nightly": _NIGHTLY,
        "nodes.wait_nightly_timeout": _NIGHTLY,
        "nodes.ssh_nightly": _NIGHTLY,
        "nodes.ssh_nightly_timeout": _NIGHTLY,
        "frisbee.netcat_style": "a save runs no netcat on the gateway",
        "networking.telnet_connect_minwait": _TELNET,
        "networking.telnet_connect_maxwait": _TELNET,
        "networking.ping_timeout": "no node is pinged; ssh_timeout is for a try of ssh",
        "accounts.access_policy": _LEASES,
        "accounts.cycle": _LEASES,
    }
)


def place(section: str, key: str) -> tuple[str, str, str]:
    """Return where a key as written counts: section, name, and whom it is for, if it says so."""
    name, _, rest = key.partition(".")
    now, _, renamed = RENAMED.get(f"{section}.{name}", "").partition(".")
    return (now, renamed, rest) if renamed else (section, name, rest)


def is_renamed(section: str, key: str) -> bool:
    """Tell whether a key as written has another name with us."""
    return f"{section}.{key.partition('.')[0]}" in RENAMED


def instead(section: str, key: str, *, is_ours: bool) -> str:
    """Say what there is instead of a key as written; empty where it is none of those left out.

    A section `is_ours` by now that once was another version's.
    """
    by_key = LEFT_OUT_KEYS.get(f"{section}.{key.partition('.')[0]}", "")
    return by_key or ("" if is_ours else LEFT_OUT_SECTIONS.get(section, ""))


def notice(source: object, left_out: Iterable[tuple[str, str, str]]) -> str:
    """Tell of the keys of one file that have no effect, each with what there is instead."""
    by_reason: dict[str, list[str]] = {}
    for section, key, words in left_out:
        by_reason.setdefault(words, []).append(f"[{section}] {key}")
    told = "; ".join(f"{_some(keys)} ({words})" for words, keys in by_reason.items())
    return f"{source}: without effect: {told}"


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    return ", ".join(keys[:MOST_NAMED]) + more
