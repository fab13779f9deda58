"""
Keeps trying to connect to one node.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

FIRST: Final = 0.1
"""Seconds until the first retry, unless another time is set."""

MOST: Final = 1.0
"""Seconds between tries at most."""

_GROWTH: Final = 1.6
_JITTER: Final = 0.2

PATIENCE: Final = 5.0
"""Seconds that a try may take in all, finding the address of a name included."""


class Dialer:
    """
    Connects, and again after a failure or a loss, soon at first. A change of the
    name's addresses is noticed, since each try asks for them.
    """

    def __init__(
        self,
        connect: Callable[[], Deferred[Any]],
        clock: IReactorTime,
        rng: Random,
        on_failure: Callable[[str], None],
        first: float = FIRST,
    ) -> None:
        """
        @param connect: tries once; cancelling it ends the try.
        @param on_failure: called with why a try failed, in a few words.
        @param first: seconds until the first retry.
        """
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._on_failure = on_failure
        self._first = self._wait = first
        self._later: IDelayedCall | None = None
        self._trying: Deferred[Any] | None = None
        self._patience: IDelayedCall | None = None
        self._stopped = False
        self._resting = False

    def dial(self) -> None:
        """
        Try now.
        """
        self._later = None
        try:
            trying = self._connect()
        except Exception:
            self._failed(Failure())
            return
        self._trying = trying
        self._patience = self._clock.callLater(PATIENCE, trying.cancel)
        trying.addBoth(self._done)

    def _done(self, result: Any) -> None:
        patience, self._patience = self._patience, None
        if patience is not None and patience.active():
            patience.cancel()
        self._trying = None
        if isinstance(result, Failure):
            self._failed(result)

    def _failed(self, failure: Failure) -> None:
        if self._stopped or self._resting:
            return
        error = failure.value
        if isinstance(error, CancelledError):
            reason = f"no connection in {PATIENCE:g} seconds"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        self.again()
        self._on_failure(reason)

    def again(self) -> None:
        """
        Try again soon: the connection is lost, or could not be made.
        """
        self._resting = False
        if self._stopped or self._later is not None or self._trying is not None:
            return
        wait = self._wait * self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        self._wait = min(MOST, self._wait * _GROWTH)
        self._later = self._clock.callLater(wait, self.dial)

    def succeeded(self) -> None:
        """
        There was a connection that lasted: the next retry comes soon again.
        """
        self._wait = self._first

    def rest(self) -> None:
        """
        Try no more until L{again}: there is a connection, whoever made it.
        """
        self._resting = True
        self._end()

    def stop(self) -> None:
        """
        Try no more.
        """
        self._stopped = True
        self._end()

    def _end(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._trying is not None:
            self._trying.cancel()
