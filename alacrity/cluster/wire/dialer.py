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
"""Seconds until the first retry, unless another time is set."""

LONGEST_RETRY: Final = 1.0
"""Seconds between attempts at most."""

_GROWTH: Final = 1.6
_JITTER: Final = 0.2

ATTEMPT_TIMEOUT: Final = 5.0
"""Seconds that an attempt may take in all, finding the address of a name included."""


class DialerPhase(Enum):
    """
    What a dialer does at present.
    """

    NEW = "new"
    """It was not told to connect yet."""
    CONNECTING = "connecting"
    """An attempt is under way."""
    CONNECTED = "connected"
    """An attempt has made a connection. What becomes of that, the dialer is told."""
    WAITING = "waiting"
    """The next attempt comes after a while."""
    PAUSED = "paused"
    """No attempt is made until it is told to."""
    STOPPED = "stopped"
    """No attempt is ever made again."""


class Dialer:
    """
    Connects, and again after a failure or a loss, soon at first. A change of the
    name's addresses is noticed, since each attempt asks for them.

    @ivar phase: what it does at present.
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
        @param connect: makes one attempt; cancelling it ends the attempt.
        @param on_failure: called with why an attempt failed, in a few words.
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
        Make an attempt soon: the connection is lost, or could not be made. If one is under
        way, or will be made, that is it.
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
        Have the next retry come soon again: there was a connection that lasted.
        """
        self._wait = self._first_retry

    def pause(self) -> None:
        """
        Make no attempt until L{dial_later}: there is a connection, whichever side made it.
        """
        self._end(DialerPhase.PAUSED)

    def stop(self) -> None:
        """
        Make no attempt ever again.
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
