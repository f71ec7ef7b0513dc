"""Who sends more than anybody needs to, and is not heard for a while."""

from collections.abc import Callable, Collection

from rhubarbe.frisbee.rates import Rates

_MOST_DEAF = 64
_PAUSE_S = 5.0


class Floods:
    """Takes note of packets by their address; has the kernel drop those of one that sends too many.

    ``deafen`` is called with the addresses that are not to be heard now. They are heard again some
    seconds later, for a moment at least: whoever floods may have forged the address.
    """

    def __init__(
        self, per_second: float, burst: float, deafen: Callable[[Collection[str]], None]
    ) -> None:
        self._rates = Rates(per_second, burst)
        self._deafen = deafen
        self._until: dict[str, float] = {}
        self._next = float("inf")

    def admits(self, address: str, packets: int, now: float) -> bool:
        """Whether packets of an address may be looked at."""
        if self._rates.allow(address, packets, now):
            return True
        if address not in self._until and len(self._until) < _MOST_DEAF:
            self._until[address] = now + _PAUSE_S
            self._apply()
        return False

    def poll(self, now: float) -> None:
        """Hear the addresses again that were not heard for long enough."""
        if now >= self._next:
            self._until = {who: until for who, until in self._until.items() if until > now}
            self._apply()

    def _apply(self) -> None:
        self._next = min(self._until.values(), default=float("inf"))
        self._deafen(self._until.keys())
