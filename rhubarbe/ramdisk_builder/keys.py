"""The public keys that let root in over ssh."""

import re
from pathlib import Path

from rhubarbe.annexe.errors import Misused

KEY_TYPES = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-\S+|sk-\S+) [A-Za-z0-9+/=]+( .*)?")


def read_keys(file: Path) -> list[str]:
    """Return the public keys in a file, one a line; raises Misused when it has others or none."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Misused(f"the key {file} cannot be read: {reason}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or not all(KEY_TYPES.fullmatch(key) for key in keys):
        raise Misused(f"{file} is no public key, as ssh-keygen writes into a file of the name .pub")
    return keys
