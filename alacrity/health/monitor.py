"""
The monitor: it checks the servers of a pool at their times.

Three rules apply:

  1. A server has at most one check in flight, whatever happens to its registration.
  2. The monitor never changes a server's state. It proposes the change, and reads the state
     from the view, as other code does.
  3. A tick starts a bounded number of due checks, so that bursts of checks do not delay the data
     path.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import time
from typing import Any, Final

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.health.checks import Checks, Verdict
from alacrity.health.doubts import Doubts
from alacrity.health.faults import FaultLog
from alacrity.health.loss_guard import LossGuard
from alacrity.health.proposer import StateProposer
from alacrity.health.schedule import Schedule
from alacrity.health.watch import CheckDefaults, CheckResult, Watch
from alacrity.pool import (
    AdminState,
    Change,
    GuardLimits,
    NoCheck,
    PoolView,
    Propose,
    Server,
    State,
)

TICK: Final = 0.002
"""The shortest time between two ticks, in seconds."""

STARTS: Final = 10
"""The most checks that one tick starts."""

CHECKS_IN_FLIGHT: Final = 512
"""The most checks in flight. Each needs a file descriptor."""


def _do_nothing() -> None:
    pass


def _is_checked(server: Server) -> bool:
    """
    Whether a server is to be checked. One that is in maintenance is watched anew afterwards.
    """
    return not isinstance(server.check, NoCheck) and (
        server.administration.state is not AdminState.MAINTENANCE
    )


class Monitor(Service):
    """
    Checks the servers of a pool, and proposes the resulting changes of their states.

    The monitor may be stopped and started any number of times. Each start begins with the states
    in the view, and with no counted passes and failures.

    @ivar checking: the checks in flight, by server id. Each fires with L{None}.
    """

    _log = Logger()

    def __init__(
        self,
        view: PoolView,
        propose: Propose,
        defaults: CheckDefaults,
        checks: Checks,
        *,
        clock: IReactorTime,
        wall: Callable[[], float] = time,
        rng: Random | None = None,
        in_flight: int = CHECKS_IN_FLIGHT,
        has_format_2: Callable[[], bool] = lambda: False,
        guard: LossGuard | None = None,
        doubts: Doubts | None = None,
    ) -> None:
        """
        @param doubts: asks the other members about servers that fail; L{None}: they are not
            asked.
        @param has_format_2: gives whether all members understand commands of format 2.
        @param guard: proposes removals, in format 2; L{None}: one of its own.
        @param in_flight: the most checks in flight.
        @param clock: the clock for the checks, which is monotonic.
        @param wall: gives the seconds since the epoch.
        @param rng: the random numbers that spread the checks over time.
        """
        self.checking: dict[str, Deferred[Any]] = {}
        self._view = view
        self._defaults = defaults
        self._checks = checks
        self._clock = clock
        self._wall = wall
        self._rng = Random() if rng is None else rng
        self._in_flight = in_flight
        self._watches: dict[str, Watch] = {}
        self._schedule: Schedule[Watch] = Schedule()
        self._faults = FaultLog(self._log, clock)
        self._has_format_2 = has_format_2
        self._proposer = StateProposer(
            view,
            propose,
            guard
            or LossGuard(
                view, propose, GuardLimits(defaults.guard_share, defaults.guard_window), wall
            ),
            has_format_2=has_format_2,
            clock=clock,
            wall=wall,
            log=self._log,
            faults=self._faults,
            doubts=doubts,
        )
        self._doubts = doubts
        self._is_restoring = False
        self._unsubscribe: Callable[[], None] = _do_nothing
        self._tick_call: IDelayedCall | None = None

    def startService(self) -> None:
        """
        Start checking. The first checks of servers that are up or down are spread over their
        intervals; pending servers are checked at once.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._proposer.restart()
        if self._doubts is not None:
            self._doubts.start(self._watches.values)
        self._is_restoring = True
        self._unsubscribe = self._view.subscribe(self._changed)
        self._is_restoring = False
        self._tick_within(0.0)

    def stopService(self) -> Deferred[None]:
        """
        Stop checking.

        @return: fires once the checks in flight are cancelled and the proposals in
            flight are decided.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        unsubscribe, self._unsubscribe = self._unsubscribe, _do_nothing
        unsubscribe()
        if self._doubts is not None:
            self._doubts.stop()
        if self._tick_call is not None:
            self._tick_call.cancel()
            self._tick_call = None
        for id in list(self._watches):
            self._drop(id)
        self._schedule.clear()
        in_flight = [*self.checking.values(), *self._proposer.in_flight]
        return DeferredList(in_flight).addCallback(lambda _: None)

    def hint(self, id: str) -> None:
        """
        Note that a server seems to fail: check it soon, and more often for a while.
        """
        watch = self._watches.get(id)
        if watch is not None:
            now = self._clock.seconds()
            soon = watch.hint(now)
            if self._schedule.bring_forward(watch, soon):
                self._tick_within(soon - now)

    def latest_result(self, id: str) -> CheckResult | None:
        """
        The outcome of the latest check of a server's present registration.
        """
        watch = self._watches.get(id)
        return None if watch is None else watch.result

    # Changes of the pool

    def _changed(self, change: Change) -> None:
        server = change.after
        if server is None:
            assert change.before is not None
            self._drop(change.before.id)
            return
        if not _is_checked(server):
            self._drop(server.id)
            return
        watch = self._watches.get(server.id)
        if watch is None or watch.server.revision != server.revision:
            self._drop(server.id)
            self._watch(server)
        elif watch.server.state is not server.state:
            self._change_state(watch, server)
        else:
            self._proposer.log_dispute(watch.server, server)
            watch.update(server)

    def _watch(self, server: Server) -> None:
        now = self._clock.seconds()
        watch = Watch(server, self._defaults, now)
        self._watches[server.id] = watch
        if self._is_restoring and server.state is not State.PENDING:
            watch.wait(is_spread=True)
            self._schedule.put(watch, now + self._rng.uniform(0.0, watch.interval))
        elif server.id in self.checking:
            watch.wait_behind()
        elif len(self.checking) < self._in_flight:
            self._check(watch)
        else:
            self._schedule.put_new(watch)
            self._tick_within(0.0)

    def _drop(self, id: str) -> None:
        watch = self._watches.pop(id, None)
        if watch is None:
            return
        watch.end()
        self._schedule.discard(watch)
        self._proposer.forget(watch)
        checking = self.checking.get(id)
        if checking is not None:
            checking.cancel()

    def _change_state(self, watch: Watch, server: Server) -> None:
        now = self._clock.seconds()
        watch.change_state(server, now)
        self._proposer.forget(watch)
        soon = max(now, watch.began + watch.fast_interval)
        if self._schedule.bring_forward(watch, soon):
            self._tick_within(soon - now)
        if server.condition.lease_expired:
            return  # The keeper of leases logs it.
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

    # Ticks

    def _tick_within(self, seconds: float) -> None:
        """
        Schedule the next tick within a time, but not before L{TICK} has passed.
        """
        seconds = max(TICK, seconds)
        if self._tick_call is None:
            if self.running:
                self._tick_call = self._clock.callLater(seconds, self._tick)
        elif self._clock.seconds() + seconds < self._tick_call.getTime():
            self._tick_call.reset(seconds)

    def _tick(self) -> None:
        self._tick_call = None
        now = self._clock.seconds()
        for _ in range(STARTS):
            if len(self.checking) >= self._in_flight:
                break
            watch = self._schedule.take_due(now)
            if watch is None:
                break
            self._start(watch)
        if self._schedule.has_new():
            self._tick_within(0.0)
        else:
            time = self._schedule.next_time()
            if time is not None:
                self._tick_within(time - self._clock.seconds())

    def _start(self, watch: Watch) -> None:
        """
        Start the check of a server, unless one of an earlier registration is in flight.
        """
        if watch.is_gone:
            return
        if watch.server.id in self.checking:
            watch.wait_behind()
            return
        try:
            self._check(watch)
        except Exception:
            self._retry_soon(watch, Failure())

    # Checks

    def _check(self, watch: Watch) -> None:
        now = self._clock.seconds()
        watch.begin(now)
        checking: Deferred[Any]
        try:
            checking = self._checks.check(watch.server, watch.timeout)
            if not isinstance(checking, Deferred):
                raise TypeError(f"a check must return a Deferred, not {checking!r}")
        except Exception:
            checking = fail()
        self.checking[watch.server.id] = checking
        # Callbacks instead of a coroutine, because this runs thousands of times a second.
        checking.addBoth(self._ended, watch, now)

    def _ended(self, outcome: Verdict | Failure, watch: Watch, began: float) -> None:
        id = watch.server.id
        del self.checking[id]
        if not watch.is_gone:
            try:
                self._evaluate(watch, outcome, began)
            except Exception:
                self._retry_soon(watch, Failure())
            return
        successor = self._watches.get(id)
        if successor is not None and successor.is_behind:
            self._check(successor)

    def _evaluate(self, watch: Watch, outcome: Verdict | Failure, began: float) -> None:
        """
        Count an outcome, propose the resulting change, and schedule the next check.
        """
        now = self._clock.seconds()
        if isinstance(outcome, Failure):
            self._retry_soon(watch, outcome)
            return
        if outcome.stopping and not self._has_format_2():
            # Older nodes know no such state.
            outcome = msgspec.structs.replace(outcome, stopping=False)
        watch.count(outcome, at=self._wall(), duration=now - began)
        was_changing = watch.is_changing
        self._proposer.conclude(watch, outcome, now)
        self._check_again(watch, watch.choose_interval(self._rng, was_changing=was_changing))

    def _retry_soon(self, watch: Watch, failure: Failure) -> None:
        """
        Log a fault of this node in the check of a server, and check that server again soon.
        """
        self._faults.cannot_check(failure)
        self._check_again(watch, watch.fast_interval)

    def _check_again(self, watch: Watch, interval: float) -> None:
        """
        Schedule the next check, about an interval after the start of the latest one.
        """
        jitter = self._defaults.jitter
        interval *= self._rng.uniform(1.0 - jitter, 1.0 + jitter)
        if watch.is_gone:
            return
        now = self._clock.seconds()
        time = max(now, watch.began + interval)
        watch.wait()
        self._schedule.put(watch, time)
        self._tick_within(time - now)
