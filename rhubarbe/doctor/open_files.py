"""The limits of open files and of threads: as many as a load of all these nodes needs."""

from rhubarbe.doctor.findings import nodes, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import GatewayError
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.limits import OF_A_COMMAND, TO_WORK, require_room

ENOUGH = 65536
FILE = "/etc/security/limits.d/rhubarbe.conf"


async def look(site: Site) -> list[Finding]:
    """Ask what a load would ask first."""
    count = len(site.entries)
    try:
        require_room(count)
    except GatewayError as error:
        if "open files" not in str(error):
            return [wrong(str(error).removesuffix("; nothing was touched"))]
        enough = max(ENOUGH, 2 * (OF_A_COMMAND + TO_WORK * count))
        return [
            wrong(
                str(error).removesuffix("; nothing was touched"),
                f"echo '* hard nofile {enough}' >> {FILE}",
                advice="then log in again",
            )
        ]
    return [well(f"enough for {nodes(entry.number for entry in site.entries)}")]
