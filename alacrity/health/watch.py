"""
One registration of a server: its settings, and the outcomes of its checks.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from random import Random
from typing import Protocol

import msgspec

from alacrity.health.checks.verdict import Verdict
from alacrity.pool import Server, State
from alacrity.pool.model import SHORTEST_INTERVAL, SHORTEST_TIMEOUT


class CheckDefaults(Protocol):
    """
    The settings for checks that do not bring their own.
    """

    @property
    def interval(self) -> float:
        """Seconds between two checks of a server whose state is settled."""

    @property
    def fast_interval(self) -> float:
        """Seconds between two checks of a server whose state may be about to change."""

    @property
    def jitter(self) -> float:
        """The largest share of an interval by which it varies, to either side."""

    @property
    def timeout(self) -> float:
        """Seconds that a check may take, but no more than its interval."""

    @property
    def rise(self) -> int:
        """Passes in a row that bring a down server back."""

    @property
    def fall(self) -> int:
        """Failures in a row that take a server down."""

    @property
    def deregister_after(self) -> float:
        """Seconds down after which a server is removed; 0: never."""


class CheckResult(msgspec.Struct, frozen=True):
    """
    The outcome of one check, and when it was.

    @ivar reason: why it passed or failed, in a few words.
    @ivar at: the time of its end, in seconds since the epoch.
    @ivar duration: in seconds.
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
    """Waiting for the time of its next check, or for its turn."""
    BEHIND = auto()
    """Waiting for the end of a check of an earlier registration of the same server."""
    CHECKING = auto()
    """A check is in flight, or its outcome is being weighed."""
    GONE = auto()
    """No longer under observation."""


class Watch:
    """
    One registration of a server under observation.

    Times are those of a monotonic clock, in seconds.

    @ivar server: as it is in the pool now.
    @ivar interval: seconds between two checks while the state is settled, and
        C{fast_interval} likewise while it may be about to change.
    @ivar timeout: seconds that a check may take.
    @ivar began: when its latest check began.
    @ivar down_since: since when it is known to be down.
    @ivar failed: failures in a row, since registration or since the monitor started.
    @ivar result: the outcome of its latest check.
    """

    __slots__ = (
        "_fall",
        "_passed",
        "_phase",
        "_rise",
        "_spread",
        "began",
        "down_since",
        "failed",
        "fast_interval",
        "interval",
        "result",
        "server",
        "timeout",
    )

    def __init__(self, server: Server, defaults: CheckDefaults, now: float) -> None:
        """
        @param now: the server is known to be down from now on, if it is down: before,
            nobody checked it.
        """
        check = server.check
        self.server = server
        # The log of an earlier version may have intervals that are too short by now.
        self.interval = max(
            SHORTEST_INTERVAL, defaults.interval if check.interval is None else check.interval
        )
        self.fast_interval = min(defaults.fast_interval, self.interval)
        self.timeout = max(
            SHORTEST_TIMEOUT,
            min(defaults.timeout, self.interval) if check.timeout is None else check.timeout,
        )
        self._rise = defaults.rise if check.rise is None else check.rise
        self._fall = defaults.fall if check.fall is None else check.fall
        self._passed = self.failed = 0
        self._spread = False
        self._phase = WatchPhase.WAITING
        self.began = -inf
        self.down_since = now
        self.result: CheckResult | None = None

    def __repr__(self) -> str:
        return f"<Watch {self.server.id} {self._phase.name}>"

    @property
    def is_behind(self) -> bool:
        """True while it waits for the end of an earlier registration's check."""
        return self._phase is WatchPhase.BEHIND

    @property
    def is_gone(self) -> bool:
        """True once it is no longer under observation."""
        return self._phase is WatchPhase.GONE

    @property
    def wanted(self) -> State:
        """
        The state that follows from the outcomes so far.
        """
        state = self.server.state
        if state is State.DOWN:
            return State.UP if self._passed >= self._rise else state
        if self.failed >= self._fall:
            return State.DOWN
        return State.UP if self._passed else state

    @property
    def is_changing(self) -> bool:
        """
        True if the state may be about to change.
        """
        match self.server.state:
            case State.UP:
                return self.failed > 0
            case State.DOWN:
                return self._passed > 0
            case State.PENDING:
                return True

    def wait(self, *, is_spread: bool = False) -> None:
        """
        Wait for the time of the next check.

        @param is_spread: the time is a random one, so the next needs not be.
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
        Take on a change of the server's weight, for instance, but not of its state.
        """
        self.server = server

    def change_state(self, server: Server, now: float) -> None:
        """
        Take on a change of the server's state.
        """
        self.server = server
        if server.state is State.DOWN:
            self.down_since = now

    def count(self, verdict: Verdict, *, at: float, duration: float) -> None:
        """
        Count the outcome of a check.

        @param at: the time of its end, in seconds since the epoch.
        @param duration: in seconds.
        """
        self.result = CheckResult(verdict.passed, verdict.reason, at, duration)
        if verdict.passed:
            self._passed += 1
            self.failed = 0
        else:
            self._passed = 0
            self.failed += 1

    def choose_interval(self, rng: Random, *, was_changing: bool) -> float:
        """
        Choose the seconds from the beginning of the latest check to the next.

        Servers that came, went or came back together are spread by chance over their
        interval, as soon as they are settled.

        @param was_changing: L{is_changing}, right after the latest check was counted.
        """
        if was_changing:
            self._spread = False
            return self.fast_interval
        if self._spread:
            return self.interval
        self._spread = True
        return rng.uniform(0.0, self.interval)
