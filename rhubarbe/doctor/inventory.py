"""Whether the inventory is as it should be, and the configuration speaks of nodes that it has."""

from collections.abc import Sequence

from rhubarbe.doctor.findings import nodes, told, well
from rhubarbe.events import Finding
from rhubarbe.inventory import Entry

ADVICE = "rhubarbe-inventory --template prints one to start from; --check tells when it is right"


def look(faults: Sequence[str], entries: Sequence[Entry]) -> list[Finding]:
    """Tell each fault."""
    if faults:
        return [told(fault, ADVICE) for fault in faults]
    return [well(f"looked at: {nodes(entry.number for entry in entries)}")]
