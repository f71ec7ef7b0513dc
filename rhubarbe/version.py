"""Which version this is."""

from pathlib import Path


def version() -> str:
    """Return the version of this installation."""
    return Path(__file__).with_name("VERSION").read_text(encoding="ascii").strip()
