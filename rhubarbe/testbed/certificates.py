"""Certificates of a testbed: who signs them, and one that is good at some addresses."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LASTS = timedelta(days=30)
CLOCKS_DIFFER = timedelta(days=1)


def write(authority: Path, served: Path, addresses: Iterable[str]) -> None:
    """Write who signs, and a certificate with its key in one file, for a server there."""
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _named("an emulated testbed")
    signer = (
        _builder(issuer, issuer, root)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(each)) for each in addresses])
    of_root = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    certificate = (
        _builder(_named("controllers"), issuer, key)
        .add_extension(names, critical=False)
        .add_extension(of_root, critical=False)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority.write_bytes(signer.public_bytes(pem))
    served.touch(mode=0o600)
    served.write_bytes(private + certificate.public_bytes(pem))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + LASTS)
    )


def _signs() -> x509.KeyUsage:
    signs = dict.fromkeys(("key_cert_sign", "crl_sign"), True)
    others = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**signs, **others)
