"""
Who is checked when, and what comes of it.

Three rules hold the whole:

  1. A server has one check in flight at most, whatever happens to its registration.
  2. The monitor never changes a server's state. It proposes the change, and takes
     the state from the view like everybody else.
  3. One tick starts what is due, a bounded number at a time: checks never come in
     bursts that the data path would feel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from random import Random
from time import time
from typing import Any, Final, Protocol

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.health.checks import CannotCheck, Checks, Verdict
from alacrity.health.removals import Removals
from alacrity.pool import (
    Change,
    Deregister,
    Deregistered,
    PoolView,
    Propose,
    Report,
    Server,
    State,
)
from alacrity.pool.model import SHORTEST_INTERVAL, SHORTEST_TIMEOUT

TICK: Final = 0.002
"""Seconds between two looks at what is due, at least."""

STARTS: Final = 10
"""How many checks one tick starts at most."""

IN_FLIGHT: Final = 512
"""How many checks are in flight at most: each has a file descriptor."""

SPARE: Final = 100
"""How many entries that count no more the list of what is due may have."""

COMPLAIN: Final = 60.0
"""Seconds for which a fault of our own is not logged again."""


class Settings(Protocol):
    """
    What applies to servers that do not say otherwise.
    """

    @property
    def interval(self) -> float:
        """Seconds between two checks of a server whose state is settled."""

    @property
    def fast_interval(self) -> float:
        """Seconds between two checks of a server that may be changing its state."""

    @property
    def jitter(self) -> float:
        """By which part of it an interval varies at most, to either side."""

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


class Result(msgspec.Struct, frozen=True):
    """
    The outcome of one check.

    @ivar reason: why it passed or failed, in a few words.
    @ivar at: when it ended, in seconds since the epoch.
    @ivar duration: in seconds.
    """

    passed: bool
    reason: str
    at: float
    duration: float


class _Watch:
    """
    One registration of one server, under observation.

    @ivar passed: passes in a row, and C{failed} likewise, since registration or since the
        monitor started.
    @ivar due: when it is checked next, on the monotonic clock; L{inf}: no time is set.
    @ivar began: when its latest check began.
    @ivar settled: whether its latest interval was the steady one.
    @ivar down_since: since when it has been down, on the monotonic clock.
    @ivar gone: whether it is under observation no more.
    @ivar proposing: whether a command about it is in flight.
    @ivar spared: whether it was said that it is kept for being the last server.
    """

    __slots__ = (
        "began",
        "down_since",
        "due",
        "failed",
        "fall",
        "fast",
        "gone",
        "interval",
        "passed",
        "proposing",
        "result",
        "rise",
        "server",
        "settled",
        "spared",
        "timeout",
    )

    def __init__(self, server: Server, settings: Settings, *, down_since: float) -> None:
        check = server.check
        self.server = server
        # An older log may have shorter ones than may be asked for now.
        self.interval = max(
            SHORTEST_INTERVAL, settings.interval if check.interval is None else check.interval
        )
        self.fast = min(settings.fast_interval, self.interval)
        self.timeout = max(
            SHORTEST_TIMEOUT,
            min(settings.timeout, self.interval) if check.timeout is None else check.timeout,
        )
        self.rise = settings.rise if check.rise is None else check.rise
        self.fall = settings.fall if check.fall is None else check.fall
        self.passed = self.failed = 0
        self.due = inf
        self.began = -inf
        self.settled = False
        self.down_since = down_since
        self.gone = False
        self.proposing = False
        self.spared = False
        self.result: Result | None = None

    @property
    def wanted(self) -> State:
        """
        The state that the checks so far come to.
        """
        state = self.server.state
        if state is State.DOWN:
            return State.UP if self.passed >= self.rise else state
        if self.failed >= self.fall:
            return State.DOWN
        return State.UP if self.passed else state

    @property
    def changing(self) -> bool:
        """
        Whether the state may be about to change.
        """
        match self.server.state:
            case State.UP:
                return self.failed > 0
            case State.DOWN:
                return self.passed > 0
            case _:
                return True


def _nothing() -> None:
    """
    What there is to undo while nothing has been done.
    """


class Monitor(Service):
    """
    Checks the servers of a pool, and proposes the changes of state that follow.

    It may be stopped and started any number of times. Each start begins with the
    states in the view and with no passes and failures counted.

    @ivar checking: the checks in flight, by server id. They end with L{None}.
    @ivar proposing: the proposals in flight. They end with L{None}.
    """

    _log = Logger()

    def __init__(
        self,
        view: PoolView,
        propose: Propose,
        settings: Settings,
        checks: Checks,
        *,
        clock: IReactorTime,
        wall: Callable[[], float] = time,
        rng: Random | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        """
        @param in_flight: how many checks may be in flight at once.
        @param clock: drives the checks; its time is monotonic.
        @param wall: gives the seconds since the epoch.
        @param rng: spreads the checks.
        """
        self.checking: dict[str, Deferred[Any]] = {}
        self.proposing: set[Deferred[None]] = set()
        self._view = view
        self._propose = propose
        self._settings = settings
        self._checks = checks
        self._clock = clock
        self._wall = wall
        self._rng = Random() if rng is None else rng
        self._in_flight = in_flight
        self._watches: dict[str, _Watch] = {}
        self._due: list[tuple[float, int, _Watch]] = []
        self._order = count()
        self._new: deque[_Watch] = deque()
        self._ready: deque[_Watch] = deque()
        self._complained: dict[str, float] = {}
        self._removals = Removals()
        self._restoring = False
        self._unsubscribe: Callable[[], None] = _nothing
        self._look: IDelayedCall | None = None

    def startService(self) -> None:
        """
        Begin to check. Servers that are up or down are spread over their intervals;
        those that are pending are checked at once.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._is_broken = False
        self._removals.restart()
        self._restoring = True
        self._unsubscribe = self._view.subscribe(self._changed)
        self._restoring = False
        self._look_in(0.0)

    def stopService(self) -> Deferred[None]:
        """
        Cease to check.

        @return: fires once the checks in flight are cancelled and the proposals in
            flight are decided.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        unsubscribe, self._unsubscribe = self._unsubscribe, _nothing
        unsubscribe()
        if self._look is not None:
            self._look.cancel()
            self._look = None
        for id in list(self._watches):
            self._drop(id)
        self._due.clear()
        self._new.clear()
        self._ready.clear()
        in_flight = [*self.checking.values(), *self.proposing]
        return DeferredList(in_flight).addCallback(lambda _: None)

    def results(self, id: str) -> Result | None:
        """
        The latest outcome for a server's present registration.
        """
        watch = self._watches.get(id)
        return None if watch is None else watch.result

    # What is watched

    def _changed(self, change: Change) -> None:
        server = change.after
        if server is None:
            assert change.before is not None
            self._drop(change.before.id)
            return
        watch = self._watches.get(server.id)
        if watch is None or watch.server.revision != server.revision:
            self._drop(server.id)
            self._watch(server)
        elif watch.server.state is not server.state:
            self._moved(watch, server)
        else:
            watch.server = server

    def _watch(self, server: Server) -> None:
        now = self._clock.seconds()
        # While nobody checked, no server was found down: what is down already is removed
        # for what is seen from here on.
        watch = _Watch(server, self._settings, down_since=now)
        self._watches[server.id] = watch
        if self._restoring and server.state is not State.PENDING:
            watch.settled = True
            self._schedule(watch, now + self._rng.uniform(0.0, watch.interval))
        elif server.id in self.checking:
            watch.due = -inf  # As soon as the one in flight has ended; see _ended.
        elif len(self.checking) < self._in_flight:
            self._check(watch)
        else:
            self._new.append(watch)
            self._look_in(0.0)

    def _drop(self, id: str) -> None:
        watch = self._watches.pop(id, None)
        if watch is None:
            return
        watch.gone = True
        checking = self.checking.get(id)
        if checking is not None:
            checking.cancel()

    def _moved(self, watch: _Watch, server: Server) -> None:
        """
        A server's state has changed.
        """
        watch.server = server
        now = self._clock.seconds()
        watch.spared = False
        if server.state is State.DOWN:
            watch.down_since = now
        if watch.due != inf:
            soon = max(now, watch.began + watch.fast)
            if soon < watch.due:
                self._schedule(watch, soon)
        if server.state is State.UP:
            self._log.info(
                "server {server} is up: {reason}", server=server.id, reason=server.reason
            )
        else:
            self._log.warn(
                "server {server} is {state}: {reason} ({failures} in a row)",
                server=server.id,
                state=server.state.value,
                reason=server.reason,
                failures="1 failure" if watch.failed == 1 else f"{watch.failed} failures",
            )

    # When it is checked

    def _schedule(self, watch: _Watch, due: float) -> None:
        """
        Check a server at a certain time, and not when it was due before.
        """
        watch.due = due
        heappush(self._due, (due, next(self._order), watch))
        if len(self._due) > 2 * len(self._watches) + SPARE:
            self._due = [
                entry for entry in self._due if entry[0] == entry[2].due and not entry[2].gone
            ]
            heapify(self._due)
        if not self._restoring:
            self._look_in(due - self._clock.seconds())

    def _look_in(self, seconds: float) -> None:
        """
        Look at what is due by then, if not before; a tick from now at the earliest.
        """
        seconds = max(TICK, seconds)
        if self._look is None:
            if self.running:
                self._look = self._clock.callLater(seconds, self._tick)
        elif self._clock.seconds() + seconds < self._look.getTime():
            self._look.reset(seconds)

    def _tick(self) -> None:
        self._look = None
        self._start_due()
        if self._new or self._ready:
            self._look_in(0.0)
        elif self._due:
            self._look_in(self._due[0][0] - self._clock.seconds())

    def _start_due(self) -> None:
        now = self._clock.seconds()
        while self._due and self._due[0][0] <= now:
            due, _, watch = heappop(self._due)
            if watch.due == due and not watch.gone:
                watch.due = inf
                self._ready.append(watch)
        for _ in range(STARTS):
            if len(self.checking) >= self._in_flight:
                return
            if self._new:
                watch = self._new.popleft()
            elif self._ready:
                watch = self._ready.popleft()
            else:
                return
            if watch.gone:
                continue
            if watch.server.id in self.checking:
                watch.due = -inf
                continue
            try:
                self._check(watch)
            except Exception:
                self._failed(watch)

    def _failed(self, watch: _Watch) -> None:
        """
        A fault of ours with one server: it is checked again, and all others as ever.
        """
        self._cannot_check(Failure())
        self._again(watch, watch.fast)

    def _check(self, watch: _Watch) -> None:
        now = watch.began = self._clock.seconds()
        watch.due = inf
        checking: Deferred[Any]
        try:
            checking = self._checks.check(watch.server, watch.timeout)
            if not isinstance(checking, Deferred):
                raise TypeError(f"a check gave {checking!r}")
        except Exception:
            checking = fail()
        self.checking[watch.server.id] = checking
        # Callbacks, not a coroutine: this runs thousands of times a second.
        checking.addBoth(self._ended, watch, now)

    def _ended(self, outcome: Verdict | Failure, watch: _Watch, began: float) -> None:
        id = watch.server.id
        del self.checking[id]
        if not watch.gone:
            try:
                self._weigh(watch, outcome, began)
            except Exception:
                self._failed(watch)
            return
        successor = self._watches.get(id)
        if successor is not None and successor.due == -inf:
            self._check(successor)

    # What comes of it

    def _weigh(self, watch: _Watch, outcome: Verdict | Failure, began: float) -> None:
        now = self._clock.seconds()
        if isinstance(outcome, Failure):
            self._cannot_check(outcome)
            self._again(watch, watch.fast)
            return
        watch.result = Result(outcome.passed, outcome.reason, self._wall(), now - began)
        if outcome.passed:
            watch.passed += 1
            watch.failed = 0
        else:
            watch.passed = 0
            watch.failed += 1
        changing = watch.changing
        self._conclude(watch, outcome, now)
        if changing:
            watch.settled = False
            wait = watch.fast
        elif watch.settled:
            wait = watch.interval
        else:
            # Servers that came, went or came back together are spread from here on.
            watch.settled = True
            wait = self._rng.uniform(0.0, watch.interval)
        self._again(watch, wait)

    def _again(self, watch: _Watch, wait: float) -> None:
        """
        Check once more, C{wait} seconds or so after the latest check began.
        """
        jitter = self._settings.jitter
        wait *= self._rng.uniform(1.0 - jitter, 1.0 + jitter)
        self._schedule(watch, max(self._clock.seconds(), watch.began + wait))

    def _conclude(self, watch: _Watch, verdict: Verdict, now: float) -> None:
        """
        Propose what follows from the checks so far, if anything does.
        """
        if watch.proposing:
            return
        server = watch.server
        wanted = watch.wanted
        if wanted is not server.state:
            self._ask(
                watch,
                Report(
                    id=server.id,
                    revision=server.revision,
                    state=wanted,
                    reason=verdict.reason,
                    time=self._wall(),
                ),
            )
            return
        limit = self._settings.deregister_after
        down = now - watch.down_since
        if server.state is State.DOWN and not verdict.passed and 0 < limit <= down:
            reason = f"down for {down:.0f} s: {verdict.reason}"
            if self._removals.would_empty(self._view.pool, server):
                self._spare(watch, reason)
                return
            self._ask(
                watch,
                Deregister(
                    id=server.id, revision=server.revision, reason=reason, time=self._wall()
                ),
            )

    def _spare(self, watch: _Watch, reason: str) -> None:
        """
        Keep the last server, and say so once. If it comes back, it is found by its check;
        removed, it would be lost until it registers again.
        """
        if not watch.spared:
            watch.spared = True
            self._log.warn(
                "server {server} is kept though {reason}: it is the last one",
                server=watch.server.id,
                reason=reason,
            )

    def _ask(self, watch: _Watch, command: Report | Deregister) -> None:
        watch.proposing = True
        asking = Deferred.fromCoroutine(self._asked(watch, command))
        if not asking.called:
            self.proposing.add(asking)
            asking.addBoth(lambda _: self.proposing.discard(asking))

    async def _asked(self, watch: _Watch, command: Report | Deregister) -> None:
        """
        Should the proposal come to nothing, the next check will make it again.
        """
        before = self._removals.begin(command)
        try:
            outcome = await self._propose(command)
        except Exception as error:
            self._removals.failed(command)
            self._complain(
                "checks say that {server} should change, but the pool cannot be changed: {error}",
                server=command.id,
                error=str(error) or type(error).__name__,
            )
        else:
            self._removals.applied(command, before)
            if isinstance(outcome, Deregistered):
                self._log.warn(
                    "server {server} is removed: {reason}", server=command.id, reason=command.reason
                )
        finally:
            watch.proposing = False

    # Faults of our own

    def _cannot_check(self, failure: Failure) -> None:
        if failure.check(CannotCheck):
            self._complain("servers cannot be checked: {error}", error=failure.getErrorMessage())
        else:
            self._complain("a check is at fault", log_failure=failure)

    def _complain(self, format: str, **values: object) -> None:
        """
        Log a fault, but not each time that it is met.
        """
        now = self._clock.seconds()
        if now - self._complained.get(format, -inf) >= COMPLAIN:
            self._complained[format] = now
            self._log.error(format, **values)
