"""Bytes that may be a key: what reads them, and what that raises for those that are none."""

import struct
import warnings

import asyncssh
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

# Its warnings of old algorithms are of no use to users: nodes may run systems of any age.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)

# What the libraries raise for bytes that are no key, also where they did not foresee it.
NO_KEY = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(struct.error, UnsupportedAlgorithm),
)


def import_public(data: bytes) -> asyncssh.SSHKey | None:
    """Read a public key; None where it is none."""
    try:
        return asyncssh.import_public_key(data)
    except NO_KEY:
        return None
