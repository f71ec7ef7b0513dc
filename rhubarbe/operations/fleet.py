"""The same job on many nodes at once, where one bad node never holds back or cancels the others."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from rhubarbe.bus import Bus
from rhubarbe.errors import GatewayError, ImageError, NodeError, Refused, is_ours
from rhubarbe.events import NodeFailed, NodeResult, NodeRetried, NodeSucceeded
from rhubarbe.node import Node
from rhubarbe.operations.outcome import Outcome

Job = Callable[[Node], Coroutine[Any, Any, None]]
# Before a second try: what failed at once would fail again without a pause.
PAUSE_S = 1.0

Companion = Callable[[], Coroutine[Any, Any, None]]


class Fleet:
    """Runs one job a node, keeps what becomes of each, and tells the bus."""

    def __init__(self, nodes: Sequence[Node], bus: Bus, *, retries: int = 0) -> None:
        """Work on `nodes`; one that failed is tried up to `retries` times more, from the start."""
        self._retries = retries
        self._nodes = nodes
        self._bus = bus
        self._started = time.monotonic()
        self._attempts: dict[str, int] = {}
        self._results: dict[str, NodeResult] = {}

    @property
    def outcome(self) -> Outcome:
        """What became of each node that is done: of all, once `run` has ended, however it did."""
        return Outcome.of(self._results.values())

    @property
    def elapsed(self) -> float:
        """The seconds since the work began."""
        return time.monotonic() - self._started

    async def run(self, job: Job, limit: float, companions: Iterable[Companion] = ()) -> Outcome:
        """Run the job on all nodes, for at most `limit` seconds; return the outcome.

        The companions run beside them, and are cancelled when the last node is done. A node that
        is not done at the limit, or when the command is interrupted, is a bad one.
        """
        reason = "interrupted"
        try:
            async with asyncio.timeout(limit):
                await self._run_all(job, companions)
        except TimeoutError:
            reason = f"not done within the time limit of {limit:g} s"
        finally:
            self._give_up(reason)
        return self.outcome

    async def _run_all(self, job: Job, companions: Iterable[Companion]) -> None:
        async with asyncio.TaskGroup() as others:
            beside = [others.create_task(companion()) for companion in companions]
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(self._run_one(job, node), name=node.name)
            for task in beside:
                task.cancel()

    async def _run_one(self, job: Job, node: Node) -> None:
        try:
            await self._insist(job, node)
        except (NodeError, GatewayError, ImageError) as error:
            self._fail(node, str(error), blameless=is_ours(error))
        else:
            self._keep(node, ok=True)
            self._bus.report(NodeSucceeded(node=node.name, seconds=self.elapsed))

    async def _insist(self, job: Job, node: Node) -> None:
        """Do the job, and again where that may help: not where the node has refused."""
        for attempt in itertools.count(1):
            self._attempts[node.name] = attempt
            try:
                await job(node)
            except NodeError as error:
                if isinstance(error, Refused) or attempt > self._retries:
                    raise
                self._bus.report(
                    NodeRetried(
                        node=node.name, phase=node.phase, reason=str(error), attempt=attempt + 1
                    )
                )
                await asyncio.sleep(PAUSE_S)
            else:
                return

    def _fail(self, node: Node, reason: str, *, blameless: bool = False) -> None:
        reason = reason.removeprefix(f"{node.phase}: ")  # since the phase is told with it
        last_line = "" if node.last_line in reason else node.last_line
        self._keep(node, ok=False, reason=reason, blameless=blameless)
        self._bus.report(
            NodeFailed(node=node.name, phase=node.phase, reason=reason, last_line=last_line)
        )

    def _keep(self, node: Node, *, ok: bool, reason: str = "", blameless: bool = False) -> None:
        self._results[node.name] = NodeResult(
            node=node.name,
            number=node.entry.number,
            ok=ok,
            seconds=self.elapsed,
            attempts=self._attempts.get(node.name, 1),
            phases=dict(node.spent),
            phase=None if ok else node.phase,
            reason=reason,
            blameless=blameless,
        )

    def _give_up(self, reason: str) -> None:
        """Fail the nodes that are not done."""
        for node in self._nodes:
            if node.name not in self._results:
                self._fail(node, reason)
