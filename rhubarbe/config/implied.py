"""What follows where no file says it: from what another setting says, or from what is there."""

from pathlib import Path
from typing import Any

from rhubarbe.config.settings import SECTIONS
from rhubarbe.shared.own import is_there

# Where a file names a reservation service, and none says otherwise, that is asked.
SERVICE, ASKED = ("r2labapi", "url"), ("leases", "backend")
INVENTORY = ("testbed", "inventory_path")
# What is taken for the inventory where no file names one, and the default is not there.
INVENTORIES = tuple(
    Path("/etc/rhubarbe", name)
    for name in ("inventory.yaml", "inventory-nodes.yaml", "inventory-nodes.json")
)


def add_implied(sections: dict[str, dict[str, Any]], origins: dict[tuple[str, str], str]) -> None:
    """Add to the values that files set, and to where these come from."""
    if sections["r2labapi"].get("url") and ASKED not in origins:
        sections["leases"]["backend"] = "r2labapi"
        origins[ASKED] = f"{origins[SERVICE]} (url in [r2labapi])"
    default = SECTIONS["testbed"].declared()["inventory_path"].default
    if INVENTORY not in origins and not is_there(default):
        sections["testbed"]["inventory_path"] = next(filter(is_there, INVENTORIES), default)
