"""How many packets an address may send a second."""

_MOST_ADDRESSES = 2048
_ELSEWHERE = ""


class Rates:
    """Counts packets by address, and says of which too many come to be looked at."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}
        self._swept = 0.0

    def allow(self, address: str, packets: float, now: float) -> bool:
        """Whether so many more may be looked at now; if so, they are counted."""
        if address not in self._left and not self._has_room(now):
            address = _ELSEWHERE
        left, since = self._left.get(address, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        is_allowed = left >= packets
        self._left[address] = (left - packets if is_allowed else left, now)
        return is_allowed

    def _has_room(self, now: float) -> bool:
        if len(self._left) >= _MOST_ADDRESSES and now - self._swept >= 1.0:
            self._swept = now
            old = now - self._burst / self._per_second
            self._left = {who: left for who, left in self._left.items() if left[1] > old}
        return len(self._left) < _MOST_ADDRESSES
