"""Keys for ssh: which the user can show to nodes, and which host keys these may show."""

from rhubarbe.bus import Bus
from rhubarbe.config import Settings
from rhubarbe.errors import GatewayError
from rhubarbe.events import Notice
from rhubarbe.text import sanitise
from rhubarbe.transports.known_hosts import require_files
from rhubarbe.transports.ssh import lacking_keys, unusable_keys

__all__ = ["import_library", "lacking_keys", "require_files", "require_key", "unusable_keys"]


async def require_key(settings: Settings, bus: Bus) -> None:
    """Look for a key that nodes can be shown over ssh, before they are touched.

    Raises GatewayError where the one that is configured cannot be used. A user without any key only
    gets a notice: nodes may let anybody in.
    """
    key = settings.networking.ssh_key
    lack = await lacking_keys(key)
    if lack is None:
        return
    if key:
        raise GatewayError(f"the ssh key {'; '.join(lack)}; nothing was touched")
    bus.report(Notice(text=sanitise("; ".join(["there is no ssh key to show to nodes", *lack]))))


def import_library() -> None:
    """Import what reads keys, which takes its time: for who times what comes after it."""
    import rhubarbe.transports.ssh_keys  # noqa: F401
