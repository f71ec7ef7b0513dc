"""How many others ask for the same file: the more they are, the longer each had better wait.

All hear what each one asks. So with a fixed pause between two requests, what a client has to hear
grows with the square of their number, until it is busy with nothing else, and loses the blocks.
"""

_FEW = 16  # ask as often as they like
_LONGEST = 12.0  # times as long: others can pretend to be many, but hold nobody up for long
_WINDOW = 15.0  # seconds for which who asked counts
_MOST = 1024
_EACH = 1.0  # seconds between two counts


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
        if now - self._counted >= _EACH:
            self._counted = now
            self._heard = {who: at for who, at in self._heard.items() if now - at < _WINDOW}
            self.stretch = min(max(1.0, len(self._heard) / _FEW), _LONGEST)
