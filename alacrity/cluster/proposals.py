"""
Proposals of this node that wait for their outcomes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

Route: TypeAlias = tuple[str, int, int]
"""A leader's name, its term, and the number of the connection with it."""


class ProposalRefused(Exception):
    """
    A proposal was refused: nothing happened. The message is the reason, in one line.
    """


class OutcomeUnknown(Exception):
    """
    The outcome of a proposal is unknown: it may have been applied, or may be applied later.
    Proposing it again is safe.
    """


class _Waiting(msgspec.Struct):
    """
    A waiting proposal.

    @ivar only_by: the only route by which it may be sent; L{None}: any.
    @ivar attempts: the number of copies that may be in a log, now or later.
    @ivar fault: the reason why the last attempt was denied.
    """

    command: bytes
    deferred: Deferred[Any]
    only_by: Route | None = None
    attempts: int = 0
    fault: str = "there is no leader"


class Proposals:
    """
    Sends each proposal to the leader, and again to each new leader, until the proposal is
    applied on this node or times out.

    Sending a proposal again is harmless, because the state remembers its request id. A proposal
    that fails counts as refused only if every attempt was denied, so that no log contains it.
    """

    def __init__(
        self, clock: IReactorTime, retry: float, limit: int, wake: Callable[[], None]
    ) -> None:
        """
        @param wake: called when L{take_due} has new proposals.
        @param retry: seconds after which a denied proposal is sent again.
        @param limit: the number of proposals that may wait at a time.
        """
        self._clock = clock
        self._retry = retry
        self._limit = limit
        self._wake = wake
        self._waiting: dict[str, _Waiting] = {}
        self._unsent: dict[str, None] = {}
        self._route: Route | None = None

    def add(
        self, request_id: str, command: bytes, timeout: float, only_by: Route | None = None
    ) -> Deferred[Any]:
        """
        Begin a proposal.

        @param command: the command of the entry.
        @param timeout: seconds, after which the proposal fails.
        @param only_by: the only route by which the proposal may be sent; when the route
            changes, the proposal fails. L{None}: send it to each leader.
        @return: fires with the outcome; fails with L{OutcomeUnknown} or L{ProposalRefused}.
        @raise ProposalRefused: the proposal was not begun.
        """
        if len(self._waiting) >= self._limit:
            raise ProposalRefused("too many proposals wait on this node")
        if request_id in self._waiting:
            raise ProposalRefused("the same request waits on this node already")
        deferred: Deferred[Any] = Deferred()
        waiting = _Waiting(command, deferred, only_by)
        self._waiting[request_id] = waiting
        self._unsent[request_id] = None
        deadline = self._clock.callLater(timeout, self._expire, request_id)

        def over(result: Any) -> Any:
            if deadline.active():
                deadline.cancel()
            # The proposal is still there if the caller has cancelled it.
            if self._waiting.get(request_id) is waiting:
                self._forget(request_id)
            return result

        deferred.addBoth(over)
        self._wake()
        return deferred

    def take_due(self, route: Route | None) -> list[tuple[str, bytes]]:
        """
        Take the proposals to send: request ids and commands. Each counts as sent from then on.

        @param route: the route to the leader; L{None}: there is no leader, and nothing is due.
        """
        if route is None:
            return []
        if route != self._route:
            self._route = route
            self._fail_unless_by(route)
            self._unsent.update(dict.fromkeys(self._waiting))
        due = []
        for request_id in self._unsent:
            waiting = self._waiting[request_id]
            waiting.attempts += 1
            due.append((request_id, waiting.command))
        self._unsent.clear()
        return due

    def _fail_unless_by(self, route: Route) -> None:
        for request_id, waiting in list(self._waiting.items()):
            if waiting.only_by not in {None, route}:
                waiting.fault = "this node is no longer the leader"
                self._fail(request_id)

    def send_again(self) -> None:
        """
        Send all waiting proposals again, because earlier copies may be lost.
        """
        self._route = None

    def denied(self, request_id: str, reason: str, *, final: bool) -> None:
        """
        Note that one attempt was denied: that copy is in no log.

        @param final: whether another attempt is useless.
        """
        waiting = self._waiting.get(request_id)
        if waiting is None:
            return
        waiting.attempts -= 1
        waiting.fault = reason
        if final:
            self._fail(request_id)
        else:
            self._clock.callLater(self._retry, self._again, request_id)

    def resolve(self, request_id: str, outcome: object) -> None:
        """
        End an applied proposal with its outcome. Other nodes' proposals are ignored.
        """
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            self._forget(request_id)
            waiting.deferred.callback(outcome)

    def expire(self, request_id: str) -> None:
        """
        End a proposal of which a copy came too late to be applied. An earlier copy may have
        been applied.
        """
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            waiting.attempts += 1
            self._fail(request_id)

    def fail_all(self, reason: str) -> None:
        """
        End all proposals: this node takes no part in the cluster.
        """
        for request_id in list(self._waiting):
            self._waiting[request_id].fault = reason
            self._fail(request_id)

    @property
    def ids(self) -> list[str]:
        """The request ids of the proposals that wait."""
        return list(self._waiting)

    def _again(self, request_id: str) -> None:
        if request_id in self._waiting:
            self._unsent[request_id] = None
            self._wake()

    def _expire(self, request_id: str) -> None:
        if request_id in self._waiting:
            self._fail(request_id)

    def _fail(self, request_id: str) -> None:
        waiting = self._waiting[request_id]
        self._forget(request_id)
        if waiting.attempts > 0:
            waiting.deferred.errback(
                OutcomeUnknown("the outcome did not become known in time; trying again is safe")
            )
        else:
            waiting.deferred.errback(ProposalRefused(waiting.fault))

    def _forget(self, request_id: str) -> None:
        del self._waiting[request_id]
        self._unsent.pop(request_id, None)
