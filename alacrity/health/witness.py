"""
A witness: a member that checks servers once because the leader asks it to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.health.checks import CannotCheck, Checks, Verdict
from alacrity.pool import AdminState, NoCheck, PoolView, Server

MOST_QUESTIONS: Final = 128
"""Servers that a witness may be asked about at once."""

Question: TypeAlias = tuple[str, int]
"""The id of a server, and the revision of its registration."""


class Witnesses(Protocol):
    """
    The other members, as the leader asks them.
    """

    @property
    def others(self) -> Sequence[str]:
        """
        The names of the other members that may be asked; empty: there are none, or the
        configuration does not want them to be asked.
        """

    @property
    def settled_for(self) -> float:
        """Seconds since a leader handed over because another member sees more."""

    def ask(
        self, name: str, servers: Sequence[Server], timeout: float
    ) -> Deferred[dict[str, bool]]:
        """
        Have a member check servers once.

        @param timeout: seconds for each check.
        @return: fires with whether each check has passed, by id, without those that the member
            cannot check; fails if there is no answer.
        """

    def hand_over(self, name: str) -> None:
        """Hand leadership over to a member, since it sees more servers."""


class Witness:
    """
    Checks servers as the leader asks, once each, with this node's own connections.
    """

    _log = Logger()

    def __init__(self, view: PoolView, checks: Checks, limit: int) -> None:
        """
        @param view: the pool of this node, whose registrations say how to check.
        @param limit: the most checks in flight; others wait.
        """
        self._view = view
        self._checks = checks
        self._limit = limit
        self._in_flight = 0
        self._waiting: deque[Deferred[None]] = deque()
        # The checks in flight, or about to be: a server has one at a time.
        self._checking: dict[Question, list[Deferred[bool | None]]] = {}

    async def check(self, questions: Sequence[Question], timeout: float) -> dict[str, bool]:
        """
        Check servers once.

        @param timeout: seconds for each check.
        @return: whether the server is reached, by id. Left out are servers that this node knows
            by no registration, or by another one, and those that it cannot check.
        """
        asked = {id: self._ask((id, revision), timeout) for id, revision in questions}
        reached = {id: await each for id, each in asked.items()}
        return {id: each for id, each in reached.items() if each is not None}

    def _ask(self, question: Question, timeout: float) -> Deferred[bool | None]:
        answer: Deferred[bool | None] = Deferred()
        together = self._checking.get(question)
        if together is not None:
            together.append(answer)
            return answer
        self._checking[question] = [answer]
        checking = Deferred.fromCoroutine(self._check(question, timeout))
        checking.addErrback(self._failed, question[0])
        checking.addCallback(self._answer, question)
        return answer

    async def _check(self, question: Question, timeout: float) -> bool | None:
        if self._in_flight >= self._limit:
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            await turn
        else:
            self._in_flight += 1
        try:
            id, revision = question
            # As it is registered by the time of its turn.
            server = self._view.pool.servers.get(id)
            if server is None or server.revision != revision or not _may_check(server):
                return None
            verdict: Verdict = await maybeDeferred(self._checks.check, server, timeout)
            # One that answers with 410 is reached; what follows is the matter of a leader that
            # reaches it, too.
            return verdict.passed or verdict.stopping
        finally:
            if self._waiting:
                self._waiting.popleft().callback(None)
            else:
                self._in_flight -= 1

    def _failed(self, failure: Failure, id: str) -> None:
        if not failure.check(CannotCheck):
            self._log.failure("the check of {server} for the leader has raised", failure, server=id)

    def _answer(self, reached: bool | None, question: Question) -> None:
        for each in self._checking.pop(question):
            each.callback(reached)


def _may_check(server: Server) -> bool:
    return not isinstance(server.check, NoCheck) and (
        server.administration.state is not AdminState.MAINTENANCE
    )
