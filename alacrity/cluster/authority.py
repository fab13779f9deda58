"""
The proof that this node is the leader, for promises that are not in the log.

A leader that was deposed may not know it yet, after a pause above all. It asks the members, by
notes, whether they follow it in its term. If a majority does, no other leader was elected before
the question was sent: each election needs a member of that majority, in a later term.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.cluster.notes import Notes
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine

_log: Final = Logger()

KIND: Final = "follow"
"""The kind of the notes that ask."""

_ROUND: Final = 0.4
"""Seconds that a round of questions takes at most."""

_PAUSE: Final = 0.1
"""Seconds between two rounds."""


class Following(Protocol):
    """
    A node's part in elections.
    """

    @property
    def leading(self) -> int | None:
        """The term in which this node is the leader; L{None}: it is not."""

    @property
    def others(self) -> list[str]:
        """The names of the other members."""

    def follows(self, name: str, term: int) -> bool:
        """Whether this node follows a leader in a term, and knows of no later one."""


class EngineFollowing:
    """
    An engine's part in elections.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def leading(self) -> int | None:
        """See L{Following}."""
        engine = self._engine
        return engine.term if engine.role == LEADER and engine.halted is None else None

    @property
    def others(self) -> list[str]:
        """See L{Following}."""
        return [peer.id for peer in self._engine.raft.sorted_others]

    def follows(self, name: str, term: int) -> bool:
        """See L{Following}."""
        engine = self._engine
        leader = engine.leader
        return (
            engine.halted is None
            and engine.term == term
            and leader is not None
            and leader.id == name
        )


class Authority:
    """
    Proves that this node is the leader.
    """

    def __init__(self, notes: Notes, state: Following, clock: IReactorTime) -> None:
        """
        @param clock: a monotonic clock.
        """
        self._notes = notes
        self._state = state
        self._clock = clock
        self._proven_at = -inf
        self._proven_term = 0
        self._is_asking = False
        # Those who wait for the end of the round.
        self._waiting: list[Deferred[None]] = []
        notes.answer(KIND, self._answer)

    def _answer(self, name: str, term: Any) -> bool:
        return isinstance(term, int) and self._state.follows(name, term)

    def is_proven(self, within: float) -> bool:
        """
        Whether this node is known to have been the leader so many seconds ago, or later.
        """
        term = self._state.leading
        if term is None:
            return False
        if not self._state.others:
            return True
        return self._proven_term == term and self._clock.seconds() - self._proven_at <= within

    async def prove(self, within: float, timeout: float) -> bool:
        """
        Find out whether this node was the leader so many seconds ago, or later. The members are
        asked only if that is not known, or will soon not be known any more.

        @param timeout: seconds that this may take, about.
        """
        deadline = self._clock.seconds() + timeout
        if self.is_proven(within):
            if not self.is_proven(within / 2):
                self._ask_all()
            return True
        while self._state.leading is not None and self._clock.seconds() < deadline:
            over: Deferred[None] = Deferred()
            self._waiting.append(over)
            self._ask_all()
            await over
            if self.is_proven(within):
                return True
            await deferLater(self._clock, _PAUSE)
        return False

    def _ask_all(self) -> None:
        """
        Ask the members, unless that is in progress.
        """
        if not self._is_asking:
            self._is_asking = True
            Deferred.fromCoroutine(self._ask_round()).addBoth(self._round_over)

    async def _ask_round(self) -> None:
        term, others = self._state.leading, self._state.others
        if term is None:
            return
        sent = self._clock.seconds()
        over: Deferred[None] = Deferred()
        followers, unanswered = 1, len(others)

        def answered(follows: object) -> None:
            nonlocal followers, unanswered
            followers += follows is True
            unanswered -= 1
            if not over.called and (2 * followers > len(others) + 1 or not unanswered):
                over.callback(None)

        for name in others:
            self._notes.ask(name, KIND, term, timeout=_ROUND).addBoth(answered)
        await over
        if 2 * followers > len(others) + 1:
            self._proven_at, self._proven_term = sent, term

    def _round_over(self, result: object) -> None:
        self._is_asking = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
        if isinstance(result, Failure):
            _log.failure("the members cannot be asked whether they follow this node", result)
