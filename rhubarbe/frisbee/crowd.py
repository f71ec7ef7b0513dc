"""How many others ask for the same file: the more they are, the longer each waits between requests.

All hear what each one asks. So with a fixed pause between two requests, what a client has to hear
grows with the square of their number, until it is busy with nothing else, and loses the blocks.
"""

_FEW = 16  # up to so many, pauses are not lengthened
_LONGEST = 12.0  # times as long at most, since anybody can pretend to be many clients
_WINDOW_S = 15.0  # an address counts so long after its last request
_MOST = 1024
_EACH_S = 1.0  # between two counts


class Crowd:
    """The addresses that have asked lately, and by how much that lengthens all pauses."""

    def __init__(self) -> None:
        self.stretch = 1.0
        self._heard: dict[str, float] = {}
        self._counted = 0.0

    def heard(self, address: str, now: float) -> None:
        """Note that another client asked for something."""
        if address in self._heard or len(self._heard) < _MOST:
            self._heard[address] = now
        if now - self._counted >= _EACH_S:
            self._counted = now
            self._heard = {who: at for who, at in self._heard.items() if now - at < _WINDOW_S}
            self.stretch = min(max(1.0, len(self._heard) / _FEW), _LONGEST)
