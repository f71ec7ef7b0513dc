"""Whether the inventory is as it should be, and the configuration speaks of nodes that it has."""

from collections.abc import Sequence

from rhubarbe.config import Settings
from rhubarbe.doctor.findings import nodes, told, well, wrong
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.places import quoted
from rhubarbe.inventory import Entry
from rhubarbe.node.secrets import exposed

ADVICE = "rhubarbe-inventory --template prints one to start from; --check tells when it is right"


def look(settings: Settings, faults: Sequence[str], entries: Sequence[Entry]) -> list[Finding]:
    """Tell each fault, and which secrets all can read."""
    if faults:
        return [told(fault, ADVICE) for fault in faults]
    found = [_exposed(line) for line in exposed(entries, settings)]
    return found or [well(f"looked at: {nodes(entry.number for entry in entries)}")]


def _exposed(line: str) -> Finding:
    path = line.partition(": everybody")[0]
    text = line.partition(": chmod")[0]
    repair = f"chmod o-r {quoted(path)}"
    return wrong(text, repair, as_root=False, advice="or keep it elsewhere: !file PATH")
