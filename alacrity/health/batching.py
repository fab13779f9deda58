"""
Batches of the monitor's proposals.

When a rack fails, thousands of servers change their states in a second or two. Without batches,
each change would be an entry of the cluster's log, with the cost of an entry on each node. With
batches, there are a few dozen entries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from alacrity.pool import Command, Judged, Outcome, Propose, Verdict, Verdicts

BATCH_SIZE: Final = 100
"""The most changes in a command. Each node applies a command, and calls its subscribers, in one
turn of the event loop, while requests wait."""

BATCHES_IN_FLIGHT: Final = 8
"""The most commands in flight, if a command may have many changes."""

SINGLES_IN_FLIGHT: Final = 128
"""The most commands in flight, if each command has one change."""


_Waiting: TypeAlias = tuple[Verdict, Deferred[Outcome]]
"""A change that waits to be proposed, with the Deferred for its outcome."""


class Undecided(Exception):
    """
    The outcome of a change is not known.
    """


class ProposalBatcher:
    """
    Proposes changes in batches, each as one command, if all nodes of the cluster understand such
    a command; otherwise one by one.

    A batch is proposed when the command before it is decided. So a single change does not wait,
    and with more changes the batches become larger.
    """

    def __init__(
        self, propose: Propose, understood: Callable[[], bool], clock: IReactorTime
    ) -> None:
        """
        @param understood: gives whether all nodes understand L{Verdicts}.
        """
        self._propose = propose
        self._understood = understood
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._closing: IDelayedCall | None = None
        self._in_flight = 0

    def propose(self, command: Command) -> Deferred[Outcome]:
        """
        Propose a change with the next batch; one that is no verdict, by itself and at once.

        @return: fires with the outcome. If the Deferred is cancelled, the change is proposed
            nevertheless.
        """
        if not isinstance(command, Verdict):
            return ensureDeferred(self._propose(command))  # type: ignore[arg-type]
        outcome: Deferred[Outcome] = Deferred()
        self._waiting.append((command, outcome))
        if self._closing is None and not self._in_flight:
            self._closing = self._clock.callLater(0, self._close_batch)
        elif len(self._waiting) >= BATCH_SIZE:
            self._send()
        return outcome

    def _close_batch(self) -> None:
        self._closing = None
        self._send()

    def _send(self) -> None:
        """
        Propose waiting changes, until the limit of commands in flight is reached.
        """
        together = self._understood()
        size, most = (BATCH_SIZE, BATCHES_IN_FLIGHT) if together else (1, SINGLES_IN_FLIGHT)
        while self._waiting and self._in_flight < most:
            batch = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            self._in_flight += 1
            Deferred.fromCoroutine(self._decide(batch)).addBoth(self._decided, batch)

    async def _decide(self, batch: list[_Waiting]) -> list[Any]:
        """
        Propose a batch.

        @return: the outcome of each change.
        """
        if len(batch) == 1:
            return [await self._propose(batch[0][0])]
        outcome = await self._propose(Verdicts(tuple(command for command, _ in batch)))
        if not isinstance(outcome, Judged) or len(outcome.outcomes) != len(batch):
            raise Undecided("the batch was proposed twice, and its outcomes were not kept")
        return list(outcome.outcomes)

    def _decided(
        self,
        outcomes: list[Any] | Failure,
        batch: list[_Waiting],
    ) -> None:
        self._in_flight -= 1
        for at, (_, waiting) in enumerate(batch):
            if not waiting.called:
                waiting.callback(outcomes if isinstance(outcomes, Failure) else outcomes[at])
        if self._waiting and self._closing is None:
            self._send()
