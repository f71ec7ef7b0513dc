"""The key that opens the systems of a testbed, in files as ssh-keygen writes them."""

from pathlib import Path

import asyncssh


def write_pair(private: Path) -> str:
    """Make a private key, and the public one beside it as `.pub`; return the public one."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment="rhubarbe-testbed")
    private.touch(mode=0o600)
    key.write_private_key(private)
    key.write_public_key(private.with_suffix(".pub"))
    return key.export_public_key().decode()
