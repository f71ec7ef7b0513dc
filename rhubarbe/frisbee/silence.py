"""How long a client goes on with a server that says nothing, or nothing that is right."""

from rhubarbe.frisbee.errors import NotVouchedFor, ServerSilent

_WITHOUT_PROOF = 5


class Silence:
    """Ends a transfer in which nothing comes for ``limit_s`` seconds; 0: never.

    Blocks are no proof of a server: anybody can send them in its name. So a client that can tell
    right chunks from wrong ones (``proves``) also gives up ``limit_s`` after a wrong one if no
    right one follows, and whenever five times that passes without a right one.
    """

    def __init__(self, limit_s: float, *, now: float, proves: bool) -> None:
        self._limit = limit_s
        self._heard = self._checked = now
        self._proven: float | None = now if proves else None
        self._doubted: float | None = None

    def heard(self, now: float) -> None:
        """Note that the server said something."""
        self._heard = now

    def proven(self, now: float) -> None:
        """Note that a right chunk has come."""
        self._doubted = None
        if self._proven is not None:
            self._proven = now

    def doubted(self, now: float) -> None:
        """Note that a wrong chunk has come."""
        if self._doubted is None:
            self._doubted = now

    def check(self, now: float, *, is_ours: bool) -> None:
        """Raise ServerSilent, or NotVouchedFor, where it has been too long.

        ``is_ours``: the transfer waits for this client or its disk; such time does not count.
        """
        if is_ours:
            self._set_back(now - self._checked, now)
        self._checked = now
        if not self._limit:
            return
        if now - self._heard > self._limit:
            raise ServerSilent(
                f"*** No messages from server after {self._limit:g} seconds, exiting"
            )
        if self._doubted is not None and now - self._doubted > self._limit:
            raise _no_proof(self._limit)
        if self._proven is not None and now - self._proven > self._limit * _WITHOUT_PROOF:
            raise _no_proof(self._limit * _WITHOUT_PROOF)

    def _set_back(self, passed: float, now: float) -> None:
        self._heard = now
        if self._proven is not None:
            self._proven += passed
        if self._doubted is not None:
            self._doubted += passed


def _no_proof(seconds: float) -> NotVouchedFor:
    return NotVouchedFor(
        f"*** No chunk that the manifest vouches for in {seconds:g} seconds, exiting"
    )
