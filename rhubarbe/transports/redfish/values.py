"""What the inventory says of a Redfish service, and how its objects are looked into."""

from pathlib import Path
from typing import Any

from rhubarbe.config.secrets import Secret
from rhubarbe.config.section import Section, ValueKind, setting
from rhubarbe.config.values import FLAG, PATH_IF_ANY, PORT, SECRET, TEXT, WORD, among
from rhubarbe.transports import tls
from rhubarbe.transports.kinds import ADDRESS, REQUIRED

MODE = ValueKind("UEFI or Legacy", among("", "UEFI", "Legacy"))


class RedfishValues(Section):
    """What the inventory says of a service, in `power`, and in `netboot` if that is another."""

    address: str = setting(ADDRESS, REQUIRED, "the controller's")
    user: str = setting(WORD, REQUIRED, "whom it knows us as")
    password: Secret = setting(SECRET, REQUIRED, "what it lets that user in by")
    port: int = setting(PORT, 443, "where it listens, by TLS")
    system: str = setting(TEXT, "", "which of its systems, where it has several: the Id")
    ca: Path | None = setting(PATH_IF_ANY, None, "who signs its certificate, where not the usual")
    host: str = setting(TEXT, "", "whom its certificate names, where not the address")
    fingerprint: bytes = setting(tls.FINGERPRINT, b"", "of the certificate, whoever signs that")
    insecure: bool = setting(FLAG, False, "take any certificate, where none is said")  # noqa: FBT003
    name: str = setting(TEXT, "", "what messages call it, where not by its address")
    boot_mode: str = setting(MODE, "", "in which mode it boots from the network, if to be said")


def link(value: Any, *keys: str) -> str:
    """Return where a link in objects within objects leads; nowhere, if there is none."""
    found = inside(value, *keys, "@odata.id")
    return found if isinstance(found, str) else ""


def inside(value: Any, *keys: str) -> Any:
    """Return what is in objects within objects; None where it is not."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
