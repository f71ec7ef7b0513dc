"""The key that opens the nodes' systems, and the files that know their host keys."""

from pathlib import Path

from rhubarbe.doctor.findings import told, well, wrong
from rhubarbe.doctor.site import Site
from rhubarbe.errors import ConfigError
from rhubarbe.events import Finding
from rhubarbe.gateway.checks.places import quoted
from rhubarbe.node.keys import lacking_keys, require_files


async def look(site: Site) -> list[Finding]:
    """Read the key that is configured, else the user's own and the agent's; and the host keys."""
    networking = site.settings.networking
    found = []
    lack = await lacking_keys(networking.ssh_key)
    if lack is None:
        found.append(well(f"{networking.ssh_key or 'a key of yours'} can be shown to nodes"))
    elif networking.ssh_key:
        text = f"ssh_key in [networking]: {'; '.join(lack)}"
        found.append(wrong(text, _repair(networking.ssh_key), as_root=False))
    else:
        text = "; ".join(["there is no ssh key to show to nodes", *lack])
        home = Path.home() / ".ssh" / "id_ed25519"
        found.append(wrong(text, "" if home.exists() else _made(home), as_root=False))
    try:
        await require_files(networking)
    except ConfigError as error:
        found.append(told(str(error), "see known_hosts in [networking]"))
    return found


def _repair(configured: str) -> str:
    key = Path(configured).expanduser()
    return f"ls -l {quoted(key)}; ssh-keygen -y -f {quoted(key)}" if key.exists() else _made(key)


def _made(key: Path) -> str:
    return f"ssh-keygen -q -t ed25519 -N '' -f {quoted(key)}"
