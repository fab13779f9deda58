"""
The observation of one registration of a server: its settings, and the outcomes of its checks.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from random import Random
from typing import Final, Protocol

import msgspec

from alacrity.health.checks.verdict import Verdict
from alacrity.pool import Server, State
from alacrity.pool.model import SHORTEST_INTERVAL, SHORTEST_TIMEOUT


class CheckDefaults(Protocol):
    """
    The settings of checks, for registrations without their own.
    """

    @property
    def interval(self) -> float:
        """Seconds between two checks of a server whose state is stable."""

    @property
    def fast_interval(self) -> float:
        """Seconds between two checks of a server whose state may be about to change."""

    @property
    def jitter(self) -> float:
        """The fraction of an interval by which it varies at most, to either side."""

    @property
    def timeout(self) -> float:
        """Seconds that a check may take; at most its interval."""

    @property
    def rise(self) -> int:
        """Passes in a row that bring a server up again that is down."""

    @property
    def fall(self) -> int:
        """Failures in a row that take a server down."""

    @property
    def deregister_after(self) -> float:
        """Seconds down after which a server is removed; 0: never."""

    @property
    def lease_deregister_after(self) -> float:
        """The same for a server that has a lease."""

    @property
    def guard_share(self) -> float:
        """See L{GuardLimits<alacrity.pool.GuardLimits>}."""

    @property
    def guard_window(self) -> float:
        """See L{GuardLimits<alacrity.pool.GuardLimits>}."""


HINTED: Final = 10.0
"""Seconds for which a server is checked more often after a hint."""

HINTED_INTERVAL: Final = 1.0
"""Seconds between two checks of a server after a hint, at the least."""


class CheckResult(msgspec.Struct, frozen=True):
    """
    The outcome of one check, and its time.

    @ivar reason: the reason why the check passed or failed, in a few words.
    @ivar at: the time of the check's end, in seconds since the epoch.
    @ivar duration: the duration of the check, in seconds.
    """

    passed: bool
    reason: str
    at: float
    duration: float


class WatchPhase(Enum):
    """
    The phases of a registration under observation.
    """

    WAITING = auto()
    """Waiting for the next check."""
    BEHIND = auto()
    """Waiting for the end of a check of an earlier registration of the same server."""
    CHECKING = auto()
    """A check is in flight, or its outcome is being evaluated."""
    GONE = auto()
    """No longer under observation."""


class Watch:
    """
    One registration of a server under observation.

    Times are on a monotonic clock, in seconds.

    @ivar server: the server as it is in the pool now.
    @ivar interval: seconds between two checks while the state is stable.
    @ivar fast_interval: seconds between two checks while the state may be about to change.
    @ivar timeout: seconds that a check may take.
    @ivar began: the time at which the latest check began.
    @ivar deregister_after: seconds down after which the server is removed; 0: never.
    @ivar hinted_until: the time until which a hint has the server checked more often.
    @ivar down_since: the time from which the server is known to be down.
    @ivar failed: failures in a row, since the registration or since the monitor started.
    @ivar result: the outcome of the latest check; L{None}: there was none.
    @ivar rise: passes in a row that bring the server back.
    """

    __slots__ = (
        "_fall",
        "_passed",
        "_phase",
        "_spread",
        "_stopping",
        "began",
        "deregister_after",
        "down_since",
        "failed",
        "fast_interval",
        "hinted_until",
        "interval",
        "result",
        "rise",
        "server",
        "timeout",
    )

    def __init__(self, server: Server, defaults: CheckDefaults, now: float) -> None:
        """
        @param now: the present time. A server that is down counts as down from now on, because
            it was not checked before.
        """
        check = server.check
        self.server = server
        # The log may have intervals from an earlier version that are not allowed any more.
        self.interval = max(
            SHORTEST_INTERVAL, defaults.interval if check.interval is None else check.interval
        )
        self.fast_interval = min(defaults.fast_interval, self.interval)
        self.timeout = max(
            SHORTEST_TIMEOUT,
            min(defaults.timeout, self.interval) if check.timeout is None else check.timeout,
        )
        self.rise = defaults.rise if check.rise is None else check.rise
        self._fall = defaults.fall if check.fall is None else check.fall
        self._passed = self.failed = 0
        self.deregister_after = (
            defaults.deregister_after
            if server.options.lease is None
            else defaults.lease_deregister_after
        )
        self._spread = self._stopping = False
        self._phase = WatchPhase.WAITING
        self.hinted_until = -inf
        self.began = -inf
        self.down_since = now
        self.result: CheckResult | None = None

    def __repr__(self) -> str:
        return f"<Watch {self.server.id} {self._phase.name}>"

    @property
    def is_behind(self) -> bool:
        """Whether this registration waits for the end of an earlier registration's check."""
        return self._phase is WatchPhase.BEHIND

    @property
    def is_gone(self) -> bool:
        """Whether the observation has ended."""
        return self._phase is WatchPhase.GONE

    @property
    def wanted(self) -> State:
        """
        The state that results from the outcomes so far.
        """
        state = self.server.state
        if self.server.condition.lease_expired:
            # Checks do not bring it back; a renewal does.
            return state
        if state is State.DOWN:
            return State.UP if self._passed >= self.rise else state
        if self.failed >= self._fall:
            return State.DOWN
        if self._stopping:
            return State.STOPPING
        return State.UP if self._passed else state

    @property
    def is_changing(self) -> bool:
        """
        Whether the state may be about to change.
        """
        if self.server.condition.disputed and self.failed >= self._fall:
            # It has failed often enough, and stays as it is by the word of other members.
            return False
        match self.server.state:
            case State.UP | State.STOPPING:
                return self.failed > 0
            case State.DOWN:
                return self._passed > 0
            case State.PENDING:
                return True

    def wait(self, *, is_spread: bool = False) -> None:
        """
        Wait for the time of the next check.

        @param is_spread: whether the time was chosen at random, so that the next interval need
            not be.
        """
        self._phase = WatchPhase.WAITING
        self._spread = self._spread or is_spread

    def wait_behind(self) -> None:
        """
        Wait for the end of an earlier registration's check.
        """
        self._phase = WatchPhase.BEHIND

    def begin(self, now: float) -> None:
        """
        Begin a check.
        """
        self._phase = WatchPhase.CHECKING
        self.began = now

    def end(self) -> None:
        """
        End the observation.
        """
        self._phase = WatchPhase.GONE

    def update(self, server: Server) -> None:
        """
        Note a change of the server that does not concern its state, such as its weight.
        """
        self.server = server

    def change_state(self, server: Server, now: float) -> None:
        """
        Note a change of the server's state.
        """
        self.server = server
        if server.state is State.DOWN:
            self.down_since = now

    def count(self, verdict: Verdict, *, at: float, duration: float) -> None:
        """
        Count the outcome of a check.

        @param at: the time of the check's end, in seconds since the epoch.
        @param duration: the duration of the check, in seconds.
        """
        self.result = CheckResult(verdict.passed, verdict.reason, at, duration)
        state = self.server.state
        # Only a server that was up has requests to finish; to others it is a failure.
        self._stopping = verdict.stopping and (state is State.UP or state is State.STOPPING)
        if self._stopping:
            self._passed = self.failed = 0
        elif verdict.passed:
            self._passed += 1
            self.failed = 0
        else:
            self._passed = 0
            self.failed += 1

    def hint(self, now: float) -> float:
        """
        Note a hint that the server fails: it is checked more often for a while.

        @return: the time of the next check, at the latest.
        """
        self.hinted_until = now + HINTED
        return max(now, self.began + HINTED_INTERVAL)

    def choose_interval(self, rng: Random, *, was_changing: bool) -> float:
        """
        Choose the seconds from the start of the latest check to the start of the next.

        Servers may be registered, fail or recover together. Their checks are spread at random
        over their intervals, as soon as their states are stable.

        @param was_changing: the value of L{is_changing} right after the latest check was
            counted.
        """
        if was_changing:
            self._spread = False
            return self.fast_interval
        if self.began < self.hinted_until:
            self._spread = False
            return min(self.interval, max(self.fast_interval, HINTED_INTERVAL))
        if self._spread:
            return self.interval
        self._spread = True
        return rng.uniform(0.0, self.interval)
