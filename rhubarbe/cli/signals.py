"""For commands without a loop: whatever asks them to end is an interrupt, so that they clean up."""

import signal


def heed_termination() -> None:
    """Raise KeyboardInterrupt for SIGTERM and SIGHUP too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
