"""
Repeated attempts to connect to one node.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

FIRST_RETRY: Final = 0.1
"""Seconds until the first retry, by default."""

LONGEST_RETRY: Final = 1.0
"""The longest time between attempts, in seconds."""

_GROWTH: Final = 1.6
_JITTER: Final = 0.2

ATTEMPT_TIMEOUT: Final = 5.0
"""Seconds that an attempt may take, including the resolution of the name."""


class DialerPhase(Enum):
    """
    Phases of a dialer.
    """

    NEW = "new"
    """The dialer has made no attempt yet."""
    CONNECTING = "connecting"
    """An attempt is in progress."""
    CONNECTED = "connected"
    """An attempt has made a connection. After its loss, L{Dialer.dial_later} is called."""
    WAITING = "waiting"
    """The dialer waits until the next attempt."""
    PAUSED = "paused"
    """The dialer makes no attempt until L{Dialer.dial_later} is called."""
    STOPPED = "stopped"
    """The dialer makes no more attempts."""


class Dialer:
    """
    Connects to one node, and again after a failure or a loss; the time between attempts grows.
    Each attempt resolves the node's name again, so changed addresses are noticed.

    @ivar phase: the present phase.
    """

    def __init__(
        self,
        connect: Callable[[], Deferred[Any]],
        clock: IReactorTime,
        rng: Random,
        on_failure: Callable[[str], object],
        first_retry: float = FIRST_RETRY,
    ) -> None:
        """
        @param connect: makes one attempt; cancelling the Deferred ends the attempt.
        @param on_failure: called with the reason why an attempt failed, in a few words.
        @param first_retry: seconds until the first retry.
        """
        self.phase = DialerPhase.NEW
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._on_failure = on_failure
        self._first_retry = self._wait = first_retry
        self._retry: IDelayedCall | None = None
        self._attempt: Deferred[Any] | None = None
        self._timeout: IDelayedCall | None = None

    def __repr__(self) -> str:
        return f"<Dialer: {self.phase.value}>"

    def dial(self) -> None:
        """
        Make an attempt now.
        """
        self._retry = None
        self.phase = DialerPhase.CONNECTING
        try:
            attempt = self._connect()
        except Exception:
            self._failed(Failure())
            return
        self._attempt = attempt
        self._timeout = self._clock.callLater(ATTEMPT_TIMEOUT, attempt.cancel)
        attempt.addBoth(self._attempted)

    def _attempted(self, result: Any) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None and timeout.active():
            timeout.cancel()
        self._attempt = None
        if isinstance(result, Failure):
            self._failed(result)
        elif self.phase is DialerPhase.CONNECTING:
            self.phase = DialerPhase.CONNECTED

    def _failed(self, failure: Failure) -> None:
        if self.phase in {DialerPhase.PAUSED, DialerPhase.STOPPED}:
            return
        error = failure.value
        if isinstance(error, CancelledError):
            reason = f"no connection in {ATTEMPT_TIMEOUT:g} seconds"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        self.dial_later()
        self._on_failure(reason)

    def dial_later(self) -> None:
        """
        Make an attempt soon, because the connection is lost or could not be made. If an attempt
        is in progress or planned already, no other one is made.
        """
        if self.phase in {DialerPhase.STOPPED, DialerPhase.WAITING}:
            return
        if self._attempt is not None:
            self.phase = DialerPhase.CONNECTING
            return
        wait = self._wait * self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        self._wait = min(LONGEST_RETRY, self._wait * _GROWTH)
        self.phase = DialerPhase.WAITING
        self._retry = self._clock.callLater(wait, self.dial)

    def reset_wait(self) -> None:
        """
        Shorten the next wait to the first one, because a connection has lasted.
        """
        self._wait = self._first_retry

    def pause(self) -> None:
        """
        Make no attempt until L{dial_later}, because there is a connection, made by either side.
        """
        self._end(DialerPhase.PAUSED)

    def stop(self) -> None:
        """
        Make no more attempts.
        """
        self._end(DialerPhase.STOPPED)

    def _end(self, phase: DialerPhase) -> None:
        if self.phase is not DialerPhase.STOPPED:
            self.phase = phase
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._attempt.cancel()
