"""How fast blocks leave: a token bucket whose clock is handed in.

One block counts for 8,976 bits: the 1,056 bytes of the largest packet and 66 bytes of UDP, IP and
Ethernet framing, as the original counts them.
"""

BITS_PER_BLOCK = 8976
MOST_BITS = 1 << 40  # a second, that one may ask for
_DEBT_S = 1.0  # of delay is made up for at most
_PAUSE_S = 0.25  # without anything to send count as delay; a longer pause does not
# While delay is made up for, blocks leave at 1.025 times the rate, 20 ms of them at once. So in no
# second do more than 4.6 % too many leave.
_HASTE, _SLACK_S = 1.025, 0.02
_BURST_S, _LONGEST_GAP_S, _FEW_BLOCKS = 0.001, 0.025, 8
_LEAST_GAP = 0.5  # of the nominal gap is kept also then, since buffers of switches are small


class Pacer:
    """Spreads blocks evenly, in bursts of at most ``burst``, at ``rate`` blocks a second.

    A rate of 0 is no limit. Times are in seconds of any monotonic clock.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = self.cap = burst
        self.missed = 0
        self.intervals = 0
        self._due = 0.0
        self._limit = 0.0
        self._earliest = 0.0

    @classmethod
    def of_bandwidth(cls, bits_per_second: int, longest: int) -> "Pacer":
        """Pace ``bits_per_second`` in bursts of about a millisecond, at most ``longest`` blocks.

        Where less than a few blocks leave in that time, they leave together all the same: each
        burst wakes all the clients, which may be hundreds on machines that have other work.
        """
        rate = max(bits_per_second, BITS_PER_BLOCK) / BITS_PER_BLOCK
        burst = max(int(rate * _BURST_S), min(_FEW_BLOCKS, int(rate * _LONGEST_GAP_S)), 1)
        return cls(rate, min(longest, burst))

    @classmethod
    def of_bursts(cls, burst: int, gap_us: int, longest: int) -> "Pacer":
        """Pace ``burst`` blocks each ``gap_us``; a gap of 0 is no limit."""
        return cls(burst * 1e6 / gap_us if gap_us else 0.0, max(1, min(burst, longest)))

    def change(self, bits_per_second: int, longest: int) -> None:
        """Pace another bandwidth from now on, as `of_bandwidth` would."""
        other = Pacer.of_bandwidth(bits_per_second, longest)
        self.rate, self.burst, self.cap = other.rate, other.burst, other.cap

    @property
    def interval(self) -> float:
        """Seconds between two bursts."""
        return self.burst / self.rate if self.rate else 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next burst may leave; 0 when it may leave now."""
        if not self.rate:
            return 0.0
        return max(0.0, max(self._due, self._limit - _SLACK_S, self._earliest) - now)

    def start(self, now: float) -> None:
        """Begin to send after the queue was empty, which is no delay unless it was brief."""
        if now - self._due > _PAUSE_S:
            self._due = now
        self._limit = max(self._limit, now + _SLACK_S)  # a brief one is made up for without a burst

    def sent(self, blocks: float, now: float) -> None:
        """Account for a burst that left at ``now``."""
        self.intervals += 1
        if not self.rate:
            return
        nominal = blocks / self.rate
        if self._due < now - _DEBT_S:
            self.missed += 1
            self._due = now - _DEBT_S
        self._due += nominal
        self._limit = max(self._limit, now) + nominal / _HASTE
        self._earliest = now + nominal * _LEAST_GAP

    def adapt(self, *, trouble: bool) -> None:
        """Send a tenth less after trouble, at least one block; else one more, up to the cap."""
        interval = self.interval
        if trouble:
            self.burst = max(1, min(int(self.burst * 0.9), self.burst - 1))
        else:
            self.burst = min(self.cap, self.burst + 1)
        if interval:
            self.rate = self.burst / interval
