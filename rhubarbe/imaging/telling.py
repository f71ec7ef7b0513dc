"""What is told to people while a disk is written."""

import sys

from rhubarbe.start import write_no_more


def tell(text: str) -> None:
    """Write to the standard error, at once; from any thread.

    That it cannot be written, or that nobody reads it, is no reason to leave a disk half written:
    nothing more is told then.
    """
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        write_no_more(2)
