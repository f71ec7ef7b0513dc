"""TLS to what a site may have signed by itself, or that shows a certificate nobody signed."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rhubarbe.concurrency.threads import in_passing
from rhubarbe.config.section import ValueKind
from rhubarbe.errors import GatewayError, require_means, why

if TYPE_CHECKING:
    import aiohttp  # which takes its time to import

READ_WITHIN_S = 5.0
SHA256_BYTES = 32

Proof: TypeAlias = "ssl.SSLContext | aiohttp.Fingerprint"
"""What whoever answers is proven by."""


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text.replace(":", ""))
    if text and len(digest) != SHA256_BYTES:
        raise ValueError(text)
    return digest


FINGERPRINT = ValueKind("a SHA-256 fingerprint, of 64 hex digits", _digest)


async def proof(ca: Path | None, fingerprint: bytes, *, insecure: bool) -> Proof:
    """Return what proves who answers: the fingerprint, else who signs; raises GatewayError.

    Nothing does where it is `insecure`, and neither of them is said.
    """
    if fingerprint:
        import aiohttp

        return aiohttp.Fingerprint(fingerprint)
    try:
        context = await in_passing(READ_WITHIN_S, _context, ca)
    except ssl.SSLError as error:
        raise GatewayError(f"{ca}: no certificate is in there") from error
    except OSError as error:
        require_means(error)
        raise GatewayError(f"{ca or 'certificates'}: cannot be read: {why(error)}") from error
    if insecure and ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _context(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    # As curl: old controllers know only key exchanges that Python leaves out, and OpenSSL does not.
    context.set_ciphers("DEFAULT")
    return context
