"""Command lines, as all our programs for people read them, the annexes included."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from rhubarbe.text import sanitise

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """Complains in one clean line, whatever words were given: names of files may be among them."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, in a line that no word of the user can garble; exit with 2."""
        super().error(sanitise(message))

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        """Have a help that cannot be written be an error, which some releases of Python hide."""
        stream = file or sys.stderr
        try:
            stream.write(message)
        except OSError:
            if stream is not sys.stderr:  # an error of stderr itself cannot be told anywhere
                raise
