"""A lease, and what follows from several of them (pure).

Times are seconds since the epoch, so that no change of the clocks can shift them; a lease holds
from its begin on, and no longer at its end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rhubarbe.errors import LeaseError

# Later than any lease: the year 3000.
LATEST = 32503680000.0
# The clocks of who types a time and of who keeps leases may differ by this, in seconds.
TOLERANCE = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Lease:
    """The testbed is `owner`'s from `begins` until `ends`; `name` is what it is deleted by."""

    begins: float
    ends: float
    owner: str
    name: str

    def holds(self, moment: float) -> bool:
        """Tell whether the lease is in force at this moment."""
        return self.begins <= moment < self.ends

    def overlaps(self, begins: float, ends: float) -> bool:
        """Tell whether some moment belongs both to the lease and to this time."""
        return self.begins < ends and begins < self.ends


def overlapping(leases: Iterable[Lease], begins: float, ends: float) -> list[Lease]:
    """Return the leases that share some moment with this time, in the order of time."""
    return sorted(lease for lease in leases if lease.overlaps(begins, ends))


def holders(leases: Iterable[Lease], moment: float) -> str:
    """Say who has a lease at this moment: `ada has it`, or `the testbed is free`."""
    owners = sorted({lease.owner for lease in leases if lease.holds(moment)})
    if not owners:
        return "the testbed is free"
    return f"{' and '.join(owners)} {'have' if owners[1:] else 'has'} it"


def end_of_use(leases: Sequence[Lease], owner: str, moment: float) -> float | None:
    """Return until when the owner may go on from this moment, or None where not at all.

    A lease that begins where another of the same owner ends prolongs it.
    """
    end = None
    for lease in sorted(lease for lease in leases if lease.owner == owner):
        if lease.holds(moment if end is None else end):
            end = lease.ends
    return end


def refuse_the_past(begins: float, now: float) -> None:
    """Raise LeaseError where a lease would begin before now."""
    if begins < now - TOLERANCE:
        raise LeaseError("a lease cannot begin in the past: nothing was booked")
