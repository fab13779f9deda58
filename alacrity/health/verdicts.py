"""
What checks have come to, gathered on its way to the pool.

When a rack fails, thousands of verdicts come in a second or two. Each on its own would be
an entry of the cluster's log, with all that an entry costs on each node; gathered, they
are a few dozen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from alacrity.pool import Command, Deregister, Judged, Outcome, Propose, Report, Verdicts

MOST: Final = 100
"""Verdicts in a command at most: all nodes apply it, and tell whom it concerns, in one go,
while requests wait."""

IN_FLIGHT: Final = 8
"""Commands proposed at once."""

SINGLE: Final = 128
"""Likewise, while each command has one verdict."""


class Undecided(Exception):
    """
    A verdict whose outcome is not known.
    """


class Gatherer:
    """
    Proposes what the checks have come to: the verdicts of a moment as one command, where
    all nodes of the cluster understand that; else one by one, so many at a time.

    A moment lasts until the command before is decided. So a verdict that comes alone does
    not wait, and the more come, the more go together.
    """

    def __init__(
        self, propose: Propose, understood: Callable[[], bool], clock: IReactorTime
    ) -> None:
        """
        @param understood: whether all nodes understand L{Verdicts}.
        """
        self._propose = propose
        self._understood = understood
        self._clock = clock
        self._waiting: deque[tuple[Report | Deregister, Deferred[Outcome]]] = deque()
        self._later: IDelayedCall | None = None
        self._in_flight = 0

    def propose(self, command: Command) -> Deferred[Outcome]:
        """
        Propose a verdict, soon.

        @return: its outcome. Whoever cancels it hears no more of it; it is proposed all the
            same.
        """
        assert isinstance(command, Report | Deregister)
        outcome: Deferred[Outcome] = Deferred()
        self._waiting.append((command, outcome))
        if self._later is None and not self._in_flight:
            self._later = self._clock.callLater(0, self._moment_over)
        elif len(self._waiting) >= MOST:
            self._send()
        return outcome

    def _moment_over(self) -> None:
        self._later = None
        self._send()

    def _send(self) -> None:
        """
        Propose what waits, as far as that is good.
        """
        together = self._understood()
        size, most = (MOST, IN_FLIGHT) if together else (1, SINGLE)
        while self._waiting and self._in_flight < most:
            some = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            self._in_flight += 1
            Deferred.fromCoroutine(self._decide(some)).addBoth(self._decided, some)

    async def _decide(self, some: list[tuple[Report | Deregister, Deferred[Outcome]]]) -> list[Any]:
        """
        Propose some verdicts, and return the outcome of each.
        """
        if len(some) == 1:
            return [await self._propose(some[0][0])]
        outcome = await self._propose(Verdicts(tuple(command for command, _ in some)))
        if not isinstance(outcome, Judged) or len(outcome.outcomes) != len(some):
            raise Undecided("they were proposed twice")
        return list(outcome.outcomes)

    def _decided(
        self,
        outcomes: list[Any] | Failure,
        some: list[tuple[Report | Deregister, Deferred[Outcome]]],
    ) -> None:
        self._in_flight -= 1
        for at, (_, waiting) in enumerate(some):
            if not waiting.called:
                waiting.callback(outcomes if isinstance(outcomes, Failure) else outcomes[at])
        if self._waiting and self._later is None:
            self._send()
