"""
Proposals of the monitor, sent together where there are many.

When a rack fails, thousands of servers change their state in a second or two. Each change on
its own would be an entry of the cluster's log, with all that an entry costs on each node; in
batches, they are a few dozen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from alacrity.pool import Command, Deregister, Judged, Outcome, Propose, Report, Verdicts

BATCH_SIZE: Final = 100
"""The most changes in a command: each node applies it, and tells its subscribers, in one turn
of the loop, while requests wait."""

BATCHES_IN_FLIGHT: Final = 8
"""The most commands in flight."""

SINGLES_IN_FLIGHT: Final = 128
"""Likewise, while each command has one change."""


_Waiting: TypeAlias = tuple[Report | Deregister, Deferred[Outcome]]
"""A change that waits to be proposed, and its outcome."""


class Undecided(Exception):
    """
    A change whose outcome is not known.
    """


class ProposalBatcher:
    """
    Proposes changes in batches, one command each, if all nodes of the cluster understand
    that; else one by one.

    A batch closes when the command before it is decided. So a change that comes alone does
    not wait, and the more come, the larger the batches are.
    """

    def __init__(
        self, propose: Propose, understood: Callable[[], bool], clock: IReactorTime
    ) -> None:
        """
        @param understood: tells whether all nodes understand L{Verdicts}.
        """
        self._propose = propose
        self._understood = understood
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._closing: IDelayedCall | None = None
        self._in_flight = 0

    def propose(self, command: Command) -> Deferred[Outcome]:
        """
        Propose a change with the next batch.

        @return: its outcome. If it is cancelled, the change is proposed all the same.
        """
        assert isinstance(command, Report | Deregister)
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
        Propose waiting changes, as long as there are not too many commands in flight.
        """
        together = self._understood()
        size, most = (BATCH_SIZE, BATCHES_IN_FLIGHT) if together else (1, SINGLES_IN_FLIGHT)
        while self._waiting and self._in_flight < most:
            batch = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            self._in_flight += 1
            Deferred.fromCoroutine(self._decide(batch)).addBoth(self._decided, batch)

    async def _decide(self, batch: list[_Waiting]) -> list[Any]:
        """
        Propose a batch, and return the outcome of each.
        """
        if len(batch) == 1:
            return [await self._propose(batch[0][0])]
        outcome = await self._propose(Verdicts(tuple(command for command, _ in batch)))
        if not isinstance(outcome, Judged) or len(outcome.outcomes) != len(batch):
            raise Undecided("they were proposed twice")
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
