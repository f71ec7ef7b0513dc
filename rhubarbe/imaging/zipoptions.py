"""Options of imagezip that the original has: those refused, those that exclude others, signing."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rhubarbe.imaging.commandline import CIPHER, CommandLine
from rhubarbe.imaging.devices import STDOUT
from rhubarbe.imaging.errors import UsageError
from rhubarbe.imaging.output import PARTIAL, open_output

if TYPE_CHECKING:
    from rhubarbe.imaging.signature import PrivateKey

KEY_FILE = ".skey"
"""What the name of an image's key file ends with."""

_DELTA = "images are made whole: neither deltas nor signature files of them are made"
REFUSED = {
    **dict.fromkeys("HUP", _DELTA),
    **dict.fromkeys("ekE", CIPHER),
    "L": "relocations are written where they are of use, and not for whole disks",
    "M": "metadata of NTFS and UFS is stored as it is; the image without -M has all that one with"
    " it has",
}


def refuse_contradiction(line: CommandLine) -> None:
    """Raise UsageError where one option undoes what another one asks for."""
    signs = line.has("sign") or line.has("sign-key")
    for name, other in (("v1", "v3"), ("sign", "sign-key")):
        if line.has(name) and line.has(other):
            raise UsageError(f"--{name} and --{other} do not go together")
    if line.has("v1") and (signs or line.has("uuid")):
        raise UsageError("-1: version 1 has neither UUID nor signature: version 4 has")
    if line.has("v3") and (signs or line.has("uuid")):
        raise UsageError("-3: version 3 has neither UUID nor signature: version 4 has")
    if line.has("sign") and line.text("sign").upper() != "SHA1":
        raise UsageError(f"-a: {line.text('sign')!r}: signatures are of SHA1")
    if line.has("sign") and line.arguments[-1] in STDOUT:
        raise UsageError("-a: the new key goes beside the image: IMAGE must be a file")


def signing_key(line: CommandLine) -> "PrivateKey | None":
    """Return the key that the image is to be signed with, None if it is not; raise UsageError."""
    if not (line.has("sign") or line.has("sign-key")):
        return None
    from rhubarbe.imaging.signature import PrivateKey  # few images are signed

    return PrivateKey.make() if line.has("sign") else PrivateKey.load(line.text("sign-key"))


def keep_key(key: "PrivateKey", image: str) -> None:
    """Write a new key into a file beside the image, which is for its maker alone."""
    path = image + KEY_FILE
    Path(path + PARTIAL).unlink(missing_ok=True)  # others may have it open
    before = os.umask(0o077)
    try:
        with open_output(path) as output:
            output.write(key.text().encode())
    finally:
        os.umask(before)
