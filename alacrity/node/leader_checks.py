"""
Health checks and leases by the leader alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure


class Startable(Protocol):
    """
    The part of a monitor that starts and stops it.
    """

    @property
    def running(self) -> object:
        """Whether it checks servers."""

    def startService(self) -> Deferred[None] | None:
        """Begin to check."""

    def stopService(self) -> Deferred[None] | None:
        """Stop checking."""


class Duties:
    """
    Several services that start and stop as one. One that raises does not keep the others from
    starting or stopping.
    """

    def __init__(self, *services: Startable) -> None:
        self._services = services

    @property
    def running(self) -> bool:
        """Whether one of them runs."""
        return any(each.running for each in self._services)

    def startService(self) -> Deferred[None]:
        """Start all."""
        return self._all(lambda service: service.startService())

    def stopService(self) -> Deferred[None]:
        """
        Stop all.

        @return: fires once all are stopped.
        """
        return self._all(lambda service: service.stopService())

    def _all(self, act: Callable[[Startable], object]) -> Deferred[None]:
        acting = DeferredList(
            [maybeDeferred(act, each) for each in self._services], consumeErrors=True
        )
        return acting.addCallback(_first_failure)


def _first_failure(results: list[tuple[bool, object]]) -> None:
    for succeeded, result in results:
        if not succeeded:
            assert isinstance(result, Failure)
            result.raiseException()


class LeaderChecks:
    """
    Runs the monitor while this node leads. A start waits for the stop before it, and a fault
    of either does not affect the next.
    """

    _log = Logger()

    def __init__(
        self, monitor: Startable, is_wanted: Callable[[], bool], servers: Callable[[], int]
    ) -> None:
        """
        @param is_wanted: whether this node leads, and serves.
        @param servers: counts the servers to check, for the log.
        """
        self._monitor = monitor
        self._is_wanted = is_wanted
        self._servers = servers
        self._last: Deferred[None] = succeed(None)

    def update(self) -> Deferred[None]:
        """
        Start or stop the monitor, as leadership demands.

        @return: fires when that, and all that was asked for before, is done.
        """
        self._last.addCallback(lambda _: self._apply())
        self._last.addErrback(
            lambda failure: self._log.failure("the checks could not begin, or end", failure)
        )
        return self._last

    def _apply(self) -> Deferred[None] | None:
        wanted = self._is_wanted()
        monitor = self._monitor
        if wanted and not monitor.running:
            self._log.info("this node leads, and checks {count} servers", count=self._servers())
            return monitor.startService()
        elif not wanted and monitor.running:
            return monitor.stopService()
        return None
