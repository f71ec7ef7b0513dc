"""No window at all: nothing is shown, and the exit code tells."""

from collections.abc import Sequence

from rhubarbe.displays.outlet import Outlet
from rhubarbe.events import Event


class Silent:
    """Takes all events, and shows none."""

    outlets: Sequence[Outlet] = ()

    def show(self, event: Event) -> None:
        """Take one event in."""

    def tick(self) -> None:
        """Redraw nothing."""

    def close(self) -> None:
        """Have nothing to give back."""
