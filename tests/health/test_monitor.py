"""
L{alacrity.health.monitor}: who is checked when, and what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any, Final

import msgspec
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import CannotCheck, Checks, Verdict
from alacrity.health.monitor import CHECKS_IN_FLIGHT, STARTS, TICK, Monitor
from alacrity.pool import (
    Check,
    Command,
    Deregister,
    HttpCheck,
    Outcome,
    Pool,
    PoolView,
    Register,
    Report,
    Server,
    State,
    TcpCheck,
)
from tests.support.pools import apply_to

EPOCH: Final = 1_700_000_000.0
PASS: Final = Verdict(passed=True, reason="connected")
FAIL: Final = Verdict(passed=False, reason="connection refused")
ID: Final = "10.0.0.7:8080"
STAYING: Final = 9
"""The port of a server that passes its checks, whatever others do."""


class Health(msgspec.Struct, frozen=True):
    """
    The defaults, but without jitter.
    """

    interval: float = 5.0
    fast_interval: float = 1.0
    jitter: float = 0.0
    timeout: float = 2.0
    rise: int = 2
    fall: int = 3
    deregister_after: float = 86400.0


def restored(count: int, state: State = State.UP) -> Pool:
    """
    A pool as it is read from disk.
    """
    servers = (
        Server(f"10.0.{n >> 8}.{n & 255}", 80, TcpCheck(), 1, state, "before", EPOCH, EPOCH, 1)
        for n in range(count)
    )
    return Pool(1, {server.id: server for server in servers})


def failing(server: Server) -> Verdict:
    """
    All servers but one fail their checks.
    """
    return PASS if server.port == STAYING else FAIL


class Bench:
    """
    A monitor with a pool and servers that answer as they are told.

    @ivar answer: gives the outcome of a check; L{None}: it stays open, in C{open}.
    @ivar begun: when each check began, and of which server.
    @ivar overlapped: whether a server had two checks in flight.
    @ivar set_by: by how much the time of day was set, in seconds.
    """

    set_by = 0.0

    def __init__(self, pool: Pool | None = None, health: Health | None = None) -> None:
        self.clock = Clock()
        self.view = PoolView(pool)
        self.commands: list[Command] = []
        self.decide: Callable[[], Deferred[None]] = lambda: succeed(None)
        self.answer: Callable[[Server], Verdict | Exception | None] = lambda server: PASS
        self.begun: list[tuple[float, Server, Check, float]] = []
        self.open: dict[str, Deferred[Verdict]] = {}
        self.inside: set[str] = set()
        self.slow_to_cancel = False
        self.closing: dict[str, Deferred[None]] = {}
        self.cancelled: list[str] = []
        self.overlapped = False
        self.greatest = 0
        self.monitor = Monitor(
            self.view,
            self.propose,
            health or Health(),
            Checks(tcp=self.check, http=self.check),
            clock=self.clock,
            wall=lambda: EPOCH + self.set_by + self.clock.seconds(),
            rng=Random(1),
        )

    async def propose(self, command: Command) -> Outcome:
        self.commands.append(command)
        await self.decide()
        return apply_to(self.view, command)

    def check(self, server: Server, check: Check, timeout: float) -> Deferred[Verdict]:
        self.begun.append((self.clock.seconds(), server, check, timeout))
        outcome = self.answer(server)
        if isinstance(outcome, Verdict):
            return succeed(outcome)
        if isinstance(outcome, Exception):
            return fail(outcome)
        return Deferred.fromCoroutine(self.wait(server.id))

    async def wait(self, id: str) -> Verdict:
        self.overlapped |= id in self.inside
        self.inside.add(id)
        self.greatest = max(self.greatest, len(self.inside))
        self.open[id] = Deferred()
        try:
            return await self.open[id]
        except CancelledError:
            self.cancelled.append(id)
            del self.open[id]
            if self.slow_to_cancel:
                self.closing[id] = Deferred()
                await self.closing[id]
            raise
        finally:
            self.inside.discard(id)

    def end(self, verdict: Verdict = PASS, id: str = ID) -> None:
        self.open.pop(id).callback(verdict)

    def register(self, port: int = 8080, check: Check | None = None) -> Server:
        apply_to(
            self.view,
            Register("10.0.0.7", port, check or TcpCheck(), 1, EPOCH + self.clock.seconds()),
        )
        return self.view.pool.servers[f"10.0.0.7:{port}"]

    def remove(self, id: str = ID) -> None:
        apply_to(self.view, Deregister(id, EPOCH, "asked to"))

    def state(self, id: str = ID) -> State:
        return self.view.pool.servers[id].state

    def advance(self, seconds: float) -> None:
        self.clock.pump([TICK] * round(seconds / TICK))

    def times(self) -> list[float]:
        return [round(at, 1) for at, *_ in self.begun]


class RegistrationTests(SynchronousTestCase):
    """
    Servers that come, come again and go.
    """

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.monitor.startService()

    def test_checked_at_once_and_let_in_by_the_first_pass(self) -> None:
        self.bench.register()
        self.assertEqual(self.bench.times(), [0.0])
        self.assertIs(self.bench.state(), State.UP)

    def test_goes_down_from_pending(self) -> None:
        self.bench.answer = lambda server: FAIL
        self.bench.register()
        self.bench.advance(2.5)
        self.assertEqual(self.bench.times(), [0.0, 1.0, 2.0])
        self.assertIs(self.bench.state(), State.DOWN)

    def test_an_interval_of_an_older_log_is_bounded(self) -> None:
        """
        One that would be refused today does not take the node's time.
        """
        self.bench.register(check=TcpCheck(interval=1e-300))
        self.bench.advance(10.0)
        self.assertLessEqual(len(self.bench.begun), 102)
        self.assertGreater(len(self.bench.begun), 90)

    def test_its_own_settings_come_before_the_defaults(self) -> None:
        check = TcpCheck(interval=0.5, timeout=0.25, rise=1, fall=1)
        self.bench.register(check=check)
        self.bench.advance(3.0)
        self.assertEqual(self.bench.begun[0][2:], (check, 0.25))
        *_, before, last = self.bench.times()
        self.assertEqual(last, before + 0.5)
        self.bench.answer = lambda server: FAIL
        self.bench.advance(0.5)
        self.assertIs(self.bench.state(), State.DOWN)
        self.bench.answer = lambda server: PASS
        self.bench.advance(0.5)
        self.assertIs(self.bench.state(), State.UP)

    def test_default_timeout_is_no_longer_than_the_interval(self) -> None:
        """
        Whichever of the two is given; a log from before may have a longer one.
        """
        for interval, timeout, health, expected in (
            (None, None, Health(), 2.0),
            (0.5, None, Health(), 0.5),
            (60.0, None, Health(), 2.0),
            (None, None, Health(interval=1.0), 1.0),
            (None, 1.0, Health(interval=3.0), 1.0),
            (None, 60.0, Health(), 60.0),
            (1e-300, None, Health(), 0.1),
        ):
            bench = Bench(health=health)
            bench.monitor.startService()
            bench.register(check=TcpCheck(interval=interval, timeout=timeout))
            bench.advance(3.0)
            self.assertEqual(bench.begun[0][3], expected)

    def test_each_type_of_check_has_its_function(self) -> None:
        called: list[str] = []
        checks = Checks(
            tcp=lambda server, check, timeout: called.append("tcp") or succeed(PASS),  # type: ignore[func-returns-value]
            http=lambda server, check, timeout: called.append("http") or succeed(PASS),  # type: ignore[func-returns-value]
        )
        for check in (TcpCheck(), HttpCheck()):
            server = self.bench.register(check=check)
            self.successResultOf(checks.check(server, 1.0))
        self.assertEqual(called, ["tcp", "http"])

    def test_registered_again_it_is_checked_anew_at_once(self) -> None:
        self.bench.answer = lambda server: None
        self.bench.register()
        old = self.bench.open[ID]
        check = HttpCheck()
        self.bench.register(check=check)
        self.assertEqual(self.bench.cancelled, [ID])
        self.assertIsNot(self.bench.open[ID], old)
        self.assertIs(self.bench.begun[-1][2], check)
        self.bench.end(FAIL)
        result = self.bench.monitor.latest_result(ID)
        assert result is not None
        self.assertFalse(result.passed)

    def test_registered_again_it_begins_to_count_anew(self) -> None:
        self.bench.answer = lambda server: FAIL
        self.bench.register()
        self.bench.advance(1.5)
        self.bench.register()
        self.bench.advance(1.5)
        self.assertIs(self.bench.state(), State.PENDING)
        self.bench.advance(1.0)
        self.assertIs(self.bench.state(), State.DOWN)

    def test_up_and_registered_again_it_stays_up(self) -> None:
        self.bench.register()
        self.bench.answer = lambda server: None
        self.bench.register()
        self.assertIs(self.bench.state(), State.UP)
        self.assertEqual(len(self.bench.open), 1)

    def test_an_outcome_about_an_old_registration_does_not_count(self) -> None:
        self.bench.answer = lambda server: None
        self.bench.slow_to_cancel = True
        self.bench.register()
        self.bench.register()
        self.assertEqual(len(self.bench.begun), 1)
        self.bench.closing[ID].callback(None)
        self.assertEqual(len(self.bench.begun), 2)
        self.assertIsNone(self.bench.monitor.latest_result(ID))
        self.assertFalse(self.bench.overlapped)

    def test_removed_its_check_is_cancelled_and_it_is_forgotten(self) -> None:
        self.bench.answer = lambda server: None
        self.bench.register()
        self.bench.remove()
        self.assertEqual(self.bench.cancelled, [ID])
        self.assertEqual(self.bench.monitor.checking, {})
        self.bench.advance(20.0)
        self.assertEqual(len(self.bench.begun), 1)
        self.assertIsNone(self.bench.monitor.latest_result(ID))

    def test_registrations_leave_nothing_behind(self) -> None:
        for _ in range(1000):
            self.bench.register(check=TcpCheck(interval=3600.0))
        self.assertLess(len(self.bench.monitor._schedule._heap), 200)


class StateTests(SynchronousTestCase):
    """
    The states that follow from outcomes.
    """

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.monitor.startService()

    def up(self) -> None:
        """A server that is up, long since."""
        self.bench.register()
        self.bench.advance(20.0)
        self.bench.begun.clear()
        self.bench.commands.clear()

    def test_nothing_is_proposed_while_nothing_changes(self) -> None:
        self.up()
        self.bench.advance(20.0)
        self.assertEqual(self.bench.commands, [])

    def test_steadily_then_fast_then_down_then_back(self) -> None:
        self.up()
        self.bench.advance(10.0)
        first, second = self.bench.times()
        self.assertEqual(second, first + 5.0)
        self.bench.begun.clear()
        self.bench.answer = lambda server: FAIL
        self.bench.advance(8.0)
        start = second + 5.0
        # Fast while it fails, once more after the change.
        self.assertEqual(self.bench.times()[:4], [start, start + 1, start + 2, start + 3])
        (command,) = self.bench.commands
        assert isinstance(command, Report)
        self.assertEqual(
            (command.state, command.reason, command.revision),
            (State.DOWN, "connection refused", 1),
        )
        self.assertAlmostEqual(command.time, EPOCH + start + 2, places=1)
        self.bench.advance(20.0)
        self.bench.begun.clear()
        self.bench.answer = lambda server: PASS
        self.bench.advance(7.0)
        times = self.bench.times()
        self.assertEqual(times[1:3], [times[0] + 1, times[0] + 2])
        self.assertIs(self.bench.state(), State.UP)
        self.assertEqual(len(self.bench.commands), 2)

    def test_one_failure_does_no_harm(self) -> None:
        self.up()
        answers = [PASS, FAIL, FAIL] * 20
        self.bench.answer = lambda server: answers.pop()
        self.bench.advance(60.0)
        self.assertEqual(self.bench.commands, [])

    def test_the_latest_outcome_can_be_seen(self) -> None:
        self.bench.answer = lambda server: None
        self.bench.register()
        self.assertIsNone(self.bench.monitor.latest_result(ID))
        self.bench.advance(0.5)
        self.bench.end(FAIL)
        result = self.bench.monitor.latest_result(ID)
        assert result is not None
        self.assertEqual((result.passed, result.reason), (False, "connection refused"))
        self.assertAlmostEqual(result.at, EPOCH + 0.5)
        self.assertAlmostEqual(result.duration, 0.5)
        self.assertIsNone(self.bench.monitor.latest_result("10.9.9.9:1"))

    def test_each_change_is_logged_once_with_its_reason(self) -> None:
        with capturedLogs() as events:
            self.up()
            self.bench.answer = lambda server: FAIL
            self.bench.advance(30.0)
            self.bench.answer = lambda server: PASS
            self.bench.advance(30.0)
        lines = [(event["log_level"], event["log_format"].format(**event)) for event in events]
        self.assertEqual(
            lines,
            [
                (LogLevel.info, f"server {ID} is up: connected"),
                (
                    LogLevel.warn,
                    f"server {ID} is down: connection refused (3 failures in a row)",
                ),
                (LogLevel.info, f"server {ID} is up: connected"),
            ],
        )

    def test_a_proposal_that_fails_is_made_again_and_not_logged_again(self) -> None:
        self.up()
        self.bench.answer = lambda server: FAIL
        self.bench.decide = lambda: fail(RuntimeError("no quorum"))
        with capturedLogs() as events:
            self.bench.advance(12.0)
        self.assertGreater(len(self.bench.commands), 3)
        (event,) = events
        self.assertIn("no quorum", eventAsText(event))
        self.assertIs(self.bench.state(), State.UP)
        self.bench.decide = lambda: succeed(None)
        with capturedLogs() as events:
            self.bench.advance(1.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertEqual(len(events), 1)

    def test_one_proposal_at_a_time(self) -> None:
        self.up()
        deciding: Deferred[None] = Deferred()
        self.bench.decide = lambda: deciding
        self.bench.answer = lambda server: FAIL
        self.bench.advance(12.0)
        self.assertEqual(len(self.bench.commands), 1)
        (proposal,) = self.bench.monitor._proposer.in_flight
        deciding.callback(None)
        self.assertIs(self.bench.state(), State.DOWN)
        self.successResultOf(proposal)
        self.assertEqual(self.bench.monitor._proposer.in_flight, set())

    def test_a_late_decision_brings_the_next_check_forward(self) -> None:
        self.up()
        deciding: Deferred[None] = Deferred()
        self.bench.decide = lambda: deciding
        self.bench.answer = lambda server: FAIL
        self.bench.advance(7.5)
        deciding.callback(None)
        self.bench.begun.clear()
        self.bench.advance(1.0)
        self.assertEqual(len(self.bench.begun), 1)

    def test_a_state_that_others_reported_is_taken_on(self) -> None:
        self.up()
        while not self.bench.begun:
            self.bench.advance(0.1)
        server = self.bench.view.pool.servers[ID]
        apply_to(self.bench.view, Report(ID, server.revision, State.DOWN, "seen elsewhere", EPOCH))
        self.bench.advance(1.1)
        # Its passes in a row are facts, whoever said that it was down.
        self.assertIs(self.bench.state(), State.UP)
        # Brought forward, it is not checked when it was due before as well.
        self.bench.begun.clear()
        self.bench.advance(30.0)
        self.assertLess(len(self.bench.begun), 9)

    @examples(deadline=None, max_examples=60)
    @given(
        st.lists(st.booleans(), max_size=40),
        st.integers(min_value=1, max_value=4),
        st.integers(min_value=1, max_value=4),
    )
    def test_the_state_follows_rise_and_fall(
        self, outcomes: list[bool], rise: int, fall: int
    ) -> None:
        bench = Bench(health=Health(rise=rise, fall=fall, deregister_after=0.0))
        bench.monitor.startService()
        bench.answer = lambda server: None
        bench.register()
        expected, streak, last = State.PENDING, 0, None
        for passed in outcomes:
            while ID not in bench.open:
                bench.advance(0.5)
            bench.end(PASS if passed else FAIL)
            streak = streak + 1 if passed is last else 1
            last = passed
            if (expected is State.PENDING and passed) or (
                passed and expected is State.DOWN and streak >= rise
            ):
                expected = State.UP
            elif not passed and streak >= fall:
                expected = State.DOWN
            self.assertIs(bench.state(), expected)


class RemovalTests(SynchronousTestCase):
    """
    Servers that stay down, beside one that is up.
    """

    def bench(self, deregister_after: float, pool: Pool | None = None) -> Bench:
        """A monitor that has begun; a server that stays up is in the pool."""
        bench = Bench(pool, health=Health(deregister_after=deregister_after))
        bench.monitor.startService()
        bench.register(STAYING)
        return bench

    def assertGone(self, bench: Bench) -> None:
        """Only the server that stays up is left."""
        self.assertEqual(list(bench.view.pool.servers), [f"10.0.0.7:{STAYING}"])

    def test_down_for_long_it_is_removed(self) -> None:
        bench = self.bench(30.0)
        bench.answer = failing
        server = bench.register()
        bench.advance(31.9)
        self.assertIs(bench.state(), State.DOWN)
        with capturedLogs() as events:
            bench.advance(6.0)
        self.assertGone(bench)
        command = bench.commands[-1]
        assert isinstance(command, Deregister)
        self.assertEqual(command.revision, server.revision)
        self.assertRegex(command.reason, r"^down for 3\d s: connection refused$")
        (event,) = events
        self.assertEqual(
            event["log_format"].format(**event), f"server {ID} is removed: {command.reason}"
        )

    def test_the_clock_is_set(self) -> None:
        """
        Neither the checks nor the removal go by the time of day, which is only told.
        """
        for by in (86400.0, -86400.0):
            bench = self.bench(30.0)
            bench.answer = failing
            bench.register()
            bench.advance(5.0)
            checked = len(bench.begun)
            bench.set_by = by
            bench.advance(26.9)
            self.assertIs(bench.state(), State.DOWN)
            self.assertGreater(len(bench.begun), checked + 3)
            result = bench.monitor.latest_result(ID)
            assert result is not None
            self.assertEqual(result.duration, 0.0)
            self.assertLess(abs(result.at - (EPOCH + by + bench.clock.seconds())), 6.0)
            bench.advance(6.0)
            self.assertGone(bench)

    def test_the_time_runs_from_when_it_went_down(self) -> None:
        bench = self.bench(30.0)
        bench.register()
        bench.advance(100.0)
        bench.answer = failing
        bench.advance(30.0)
        self.assertIs(bench.state(), State.DOWN)
        bench.advance(15.0)
        self.assertGone(bench)

    def test_never_when_told_so(self) -> None:
        bench = self.bench(0.0)
        bench.answer = failing
        bench.register()
        bench.advance(1000.0)
        self.assertIs(bench.state(), State.DOWN)

    def test_down_counts_from_the_start(self) -> None:
        """
        A server is not removed for the time that it was down while nobody checked.
        """
        bench = Bench(restored(1, State.DOWN), Health(deregister_after=300.0))
        bench.register(STAYING)
        bench.clock.advance(1000.0)
        bench.answer = failing
        bench.monitor.startService()
        bench.advance(290.0)
        self.assertEqual(len(bench.view.pool.servers), 2)
        bench.advance(20.0)
        self.assertGone(bench)


class LastServerTests(SynchronousTestCase):
    """
    The last server of a pool, which is never removed for being down.
    """

    def setUp(self) -> None:
        self.bench = Bench(health=Health(deregister_after=30.0))
        self.bench.monitor.startService()
        self.bench.answer = lambda server: FAIL

    def ids(self) -> set[str]:
        """The servers of the pool."""
        return set(self.bench.view.pool.servers)

    def removals(self) -> set[str]:
        """The servers whose removal was proposed."""
        return {each.id for each in self.bench.commands if isinstance(each, Deregister)}

    def test_alone(self) -> None:
        """
        The last server is kept, which is logged once; it is checked on, and up when it comes back.
        """
        self.bench.register()
        with capturedLogs() as events:
            self.bench.advance(300.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.assertEqual(self.removals(), set())
        said = [eventAsText(event, includeTimestamp=False, includeSystem=False) for event in events]
        (kept,) = (line for line in said if "is kept" in line)
        self.assertRegex(
            kept,
            rf"server {ID} is kept though down for 3\d s: connection refused: it is the last one",
        )
        self.bench.answer = lambda server: PASS
        self.bench.advance(10.0)
        self.assertIs(self.bench.state(), State.UP)

    def test_all_at_once(self) -> None:
        """
        Of several that fall due in the same moment one stays, whichever it is.
        """
        for port in range(80, 90):
            self.bench.register(port)
        self.bench.advance(300.0)
        self.assertEqual(len(self.ids()), 1)
        self.assertEqual(len(self.removals()), 9)

    def test_removals_in_flight_count(self) -> None:
        """
        Also while no removal is decided yet.
        """
        waiting: list[Deferred[None]] = []
        for port in (80, 81, 82):
            self.bench.register(port)
        self.bench.advance(10.0)

        def decide() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.bench.decide = decide
        self.bench.advance(100.0)
        self.assertEqual(len(self.ids()), 3)
        self.assertEqual(len(self.removals()), 2)
        for each in waiting:
            each.callback(None)
        self.bench.advance(100.0)
        self.assertEqual(len(self.ids()), 1)
        self.assertEqual(len(waiting), 2)

    def test_removals_of_unknown_outcome_count(self) -> None:
        """
        A removal that failed may be applied later, until a later command is.
        """
        self.bench.register(80)
        self.bench.register(81)
        self.bench.advance(10.0)
        self.bench.decide = lambda: fail(RuntimeError("no majority has confirmed it in time"))
        self.bench.advance(100.0)
        self.assertEqual(len(self.ids()), 2)
        (first,) = self.removals()
        other = next(id for id in self.ids() if id != first)
        # The first one comes back, and the other one is due still.
        self.bench.decide = lambda: succeed(None)
        self.bench.answer = lambda server: PASS if server.id == first else FAIL
        self.bench.advance(100.0)
        self.assertEqual(self.ids(), {first})
        self.assertIn(other, self.removals())

    def test_pending_and_new_ones_count(self) -> None:
        """
        Another one that registers makes it one of several, and it goes.
        """
        self.bench.register()
        self.bench.advance(100.0)
        self.bench.register(81)
        self.bench.advance(10.0)
        self.assertEqual(self.ids(), {"10.0.0.7:81"})

    def test_asked_for(self) -> None:
        """
        A caller may remove it.
        """
        self.bench.register()
        self.bench.remove()
        self.assertEqual(self.ids(), set())

    def test_restarted_with_a_removal_in_flight(self) -> None:
        """
        A removal in flight counts over a restart of the monitor.
        """
        waiting: Deferred[None] = Deferred()
        self.bench.register(80)
        self.bench.register(81)
        self.bench.advance(10.0)
        self.bench.decide = lambda: waiting
        self.bench.advance(60.0)
        (first,) = self.removals()
        self.bench.monitor.stopService()
        self.bench.monitor.startService()
        self.bench.advance(100.0)
        self.assertEqual(self.removals(), {first})
        waiting.callback(None)
        self.assertEqual(len(self.ids()), 1)


class ScheduleTests(SynchronousTestCase):
    """
    The times of checks.
    """

    def test_one_at_a_time_for_a_server(self) -> None:
        bench = Bench()
        bench.monitor.startService()
        bench.answer = lambda server: None
        bench.register()
        bench.advance(30.0)
        self.assertEqual(len(bench.begun), 1)
        bench.end()
        bench.advance(0.1)
        self.assertEqual(len(bench.begun), 2)
        self.assertFalse(bench.overlapped)

    def test_it_rests_while_nothing_is_due(self) -> None:
        bench = Bench(health=Health(jitter=0.0))
        bench.monitor.startService()
        bench.clock.advance(TICK)
        self.assertEqual(bench.clock.getDelayedCalls(), [])
        bench.register()
        bench.clock.advance(TICK)
        (look,) = bench.clock.getDelayedCalls()
        self.assertGreater(look.getTime() - bench.clock.seconds(), 0.9)
        bench.register(8081)
        self.assertEqual(len(bench.begun), 2)
        bench.monitor.stopService()
        self.assertEqual(bench.clock.getDelayedCalls(), [])

    def test_intervals_are_jittered(self) -> None:
        bench = Bench(health=Health(jitter=0.1))
        bench.monitor.startService()
        bench.register()
        bench.advance(300.0)
        times = [at for at, *_ in bench.begun][3:]
        waits = [after - before for before, after in pairwise(times)]
        self.assertLess(min(waits), 4.8)
        self.assertGreater(max(waits), 5.2)
        self.assertGreaterEqual(min(waits), 4.5)
        self.assertLessEqual(max(waits), 5.5 + 2 * TICK)

    def test_servers_restored_are_spread_over_an_interval(self) -> None:
        for state in (State.UP, State.DOWN):
            bench = Bench(restored(2000, state), Health(rise=100))
            bench.answer = lambda server, state=state: PASS if state is State.UP else FAIL  # type: ignore[misc]
            bench.monitor.startService()
            self.assertEqual(bench.begun, [])
            bench.advance(5.0 + TICK)
            self.assertEqual(len({server.id for _, server, *_ in bench.begun}), 2000)
            quarters = [0] * 4
            for at, server, *_ in bench.begun:
                quarters[min(3, int(at / 1.26))] += server.state is state
            self.assertGreater(min(quarters), 350)
            self.assertEqual(bench.commands, [])

    def test_servers_registered_together_are_spread_later(self) -> None:
        bench = Bench()
        bench.monitor.startService()
        for port in range(1, 401):
            bench.register(port)
        bench.advance(10.0)
        bench.begun.clear()
        bench.advance(4.0)
        seconds = [0] * 4
        for at, *_ in bench.begun:
            seconds[min(3, int(at - 10.0))] += 1
        self.assertGreater(min(seconds), 60)
        self.assertLess(max(seconds), 100)

    def test_restored_pending_servers_are_checked_at_once(self) -> None:
        bench = Bench(restored(3, State.PENDING))
        bench.monitor.startService()
        self.assertEqual(bench.times(), [0.0] * 3)

    def test_no_more_in_flight_than_allowed_and_each_gets_its_turn(self) -> None:
        count = CHECKS_IN_FLIGHT + 300
        bench = Bench(restored(count, State.PENDING))
        bench.answer = lambda server: None
        bench.monitor.startService()
        self.assertEqual(len(bench.open), CHECKS_IN_FLIGHT)
        while len(bench.begun) < count:
            for id in list(bench.open)[:100]:
                bench.end(PASS, id)
            before = len(bench.begun)
            bench.clock.advance(TICK)
            self.assertLessEqual(len(bench.begun) - before, STARTS)
        self.assertEqual(len({server.id for _, server, *_ in bench.begun}), count)
        self.assertEqual(bench.greatest, CHECKS_IN_FLIGHT)

    def test_removed_while_it_waits_for_its_turn(self) -> None:
        bench = Bench(restored(CHECKS_IN_FLIGHT + 1, State.PENDING))
        bench.answer = lambda server: None
        bench.monitor.startService()
        (waiting,) = set(bench.view.pool.servers) - set(bench.open)
        bench.remove(waiting)
        bench.end(PASS, next(iter(bench.open)))
        bench.advance(TICK)
        self.assertEqual(len(bench.begun), CHECKS_IN_FLIGHT)

    def test_a_registration_goes_before_routine(self) -> None:
        bench = Bench(restored(CHECKS_IN_FLIGHT + 200))
        bench.answer = lambda server: None
        bench.monitor.startService()
        bench.advance(6.0)
        self.assertEqual(len(bench.open), CHECKS_IN_FLIGHT)
        bench.register()
        self.assertNotIn(ID, bench.open)
        bench.end(PASS, next(iter(bench.open)))
        bench.advance(TICK)
        self.assertIn(ID, bench.open)


class FaultTests(SynchronousTestCase):
    """
    Faults that are not the servers'.
    """

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.monitor.startService()
        self.bench.register()
        self.bench.advance(20.0)

    def test_what_cannot_be_checked_keeps_its_state(self) -> None:
        self.bench.answer = lambda server: CannotCheck("too many open files")
        with capturedLogs() as events:
            self.bench.advance(30.0)
        self.assertIs(self.bench.state(), State.UP)
        (event,) = events
        self.assertIn("too many open files", eventAsText(event))
        with capturedLogs() as events:
            self.bench.advance(60.0)
        self.assertEqual(len(events), 1)
        self.bench.answer = lambda server: FAIL
        self.bench.advance(10.0)
        self.assertIs(self.bench.state(), State.DOWN)

    def test_a_check_at_fault_is_logged_and_tried_again(self) -> None:
        def raises(server: Server) -> Any:
            raise ZeroDivisionError

        for fault in (lambda server: ZeroDivisionError(), raises):
            self.bench.clock.advance(100.0)
            self.bench.answer = fault
            self.bench.advance(10.0)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertIs(self.bench.state(), State.UP)
        self.bench.answer = lambda server: FAIL
        self.bench.advance(10.0)
        self.assertIs(self.bench.state(), State.DOWN)

    def test_what_goes_wrong_with_one_server_is_its_own(self) -> None:
        """
        The server is checked again, and the others all the while.
        """
        faulty: list[Any] = [None, 5, Verdict(passed=None, reason="")]  # type: ignore[arg-type]
        check, weigh = self.bench.check, self.bench.monitor._weigh
        for fault in (*faulty, "weigh"):
            with self.subTest(fault):
                self.setUp()
                check, weigh = self.bench.check, self.bench.monitor._weigh

                def checks(
                    server: Server, *rest: Any, fault: Any = fault, check: Any = check
                ) -> Any:
                    if server.port == 81 and fault != "weigh":
                        return succeed(fault) if isinstance(fault, int) else fault
                    return check(server, *rest)

                def weighs(watch: Any, *rest: Any, fault: Any = fault, weigh: Any = weigh) -> None:
                    if watch.server.port == 81 and fault == "weigh":
                        raise ZeroDivisionError
                    weigh(watch, *rest)

                monitor: Any = self.bench.monitor
                monitor._checks = Checks(tcp=checks, http=checks)
                monitor._weigh = weighs
                self.bench.register(81)
                self.bench.answer = lambda server: PASS
                self.bench.advance(10.0)
                self.assertGreaterEqual(len(self.flushLoggedErrors()), 1)
                begun = len(self.bench.begun)
                self.bench.answer = lambda server: FAIL
                self.bench.advance(10.0)
                self.assertIs(self.bench.state(), State.DOWN)
                self.assertGreater(len(self.bench.begun), begun)
                # Once the fault is mended, it is checked like all others.
                monitor._checks = Checks(tcp=check, http=check)
                monitor._weigh = weigh
                self.bench.answer = lambda server: PASS
                self.bench.advance(10.0)
                self.assertIs(self.bench.view.pool.servers["10.0.0.7:81"].state, State.UP)


class LifeTests(SynchronousTestCase):
    """
    Starting and stopping.
    """

    def test_stopped_it_leaves_nothing_running(self) -> None:
        bench = Bench(restored(20))
        bench.answer = lambda server: None
        bench.monitor.startService()
        bench.register()
        bench.advance(3.0)
        self.assertGreater(len(bench.open), 1)
        self.successResultOf(bench.monitor.stopService())
        self.assertEqual(bench.inside, set())
        self.assertEqual(bench.monitor.checking, {})
        self.assertEqual(bench.clock.getDelayedCalls(), [])
        begun = len(bench.begun)
        bench.register(81)
        bench.advance(10.0)
        self.assertEqual(len(bench.begun), begun)
        self.assertEqual(bench.commands, [])

    def test_stopping_waits_for_checks_and_proposals(self) -> None:
        for order in (1, -1):
            bench = Bench()
            bench.monitor.startService()
            deciding: Deferred[None] = Deferred()
            bench.decide = lambda deciding=deciding: deciding  # type: ignore[misc]
            bench.register()
            bench.answer = lambda server: None
            bench.slow_to_cancel = True
            bench.register(81)
            stopping = bench.monitor.stopService()
            for waited in (deciding, bench.closing["10.0.0.7:81"])[::order]:
                self.assertNoResult(stopping)
                waited.callback(None)
            self.successResultOf(stopping)

    def test_stopped_twice_or_before_the_start(self) -> None:
        bench = Bench()
        self.successResultOf(bench.monitor.stopService())
        bench.monitor.startService()
        self.successResultOf(bench.monitor.stopService())
        self.successResultOf(bench.monitor.stopService())

    def test_started_again_it_goes_on_from_the_view_and_counts_from_zero(self) -> None:
        bench = Bench()
        bench.monitor.startService()
        bench.register()
        bench.answer = lambda server: FAIL
        while len(bench.begun) < 3:
            bench.advance(0.1)
        self.successResultOf(bench.monitor.stopService())
        bench.begun.clear()
        bench.monitor.startService()
        self.assertIs(bench.state(), State.UP)
        self.assertIsNone(bench.monitor.latest_result(ID))
        while len(bench.begun) < 2:
            bench.advance(0.1)
        self.assertIs(bench.state(), State.UP)
        bench.advance(1.1)
        self.assertIs(bench.state(), State.DOWN)

    def test_started_while_a_check_from_before_still_ends(self) -> None:
        bench = Bench()
        bench.monitor.startService()
        bench.answer = lambda server: None
        bench.slow_to_cancel = True
        bench.register()
        stopping = bench.monitor.stopService()
        bench.monitor.startService()
        self.assertEqual(len(bench.begun), 1)
        bench.closing[ID].callback(None)
        self.assertEqual(len(bench.begun), 2)
        self.successResultOf(stopping)
        self.assertFalse(bench.overlapped)

    def test_due_while_a_check_from_before_still_ends(self) -> None:
        bench = Bench()
        bench.monitor.startService()
        bench.register()
        bench.answer = lambda server: None
        bench.slow_to_cancel = True
        bench.advance(10.0)
        begun = len(bench.begun)
        bench.monitor.stopService()
        bench.monitor.startService()
        bench.advance(10.0)
        self.assertEqual(len(bench.begun), begun)
        bench.closing[ID].callback(None)
        self.assertEqual(len(bench.begun), begun + 1)
        self.assertFalse(bench.overlapped)


Step = tuple[str, int]


class AnyOrderTests(SynchronousTestCase):
    """
    Whatever happens, in whatever order.
    """

    @examples(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["register", "remove", "pass", "fail", "close", "wait", "slow", "restart"]
                ),
                st.integers(min_value=0, max_value=2),
            ),
            max_size=40,
        )
    )
    def test_never_two_checks_of_a_server_and_none_forgotten(self, steps: list[Step]) -> None:
        bench = Bench(health=Health(jitter=0.1, deregister_after=20.0))
        bench.answer = lambda server: None
        bench.monitor.startService()
        for step, number in steps:
            id = f"10.0.0.7:{80 + number}"
            match step:
                case "register":
                    bench.register(80 + number, TcpCheck(fall=1 + number))
                case "remove":
                    bench.remove(id)
                case "pass" | "fail":
                    if id in bench.open:
                        bench.end(PASS if step == "pass" else FAIL, id)
                case "close":
                    if id in bench.closing:
                        bench.closing.pop(id).callback(None)
                case "wait":
                    bench.advance((0.1, 1.0, 6.0)[number])
                case "slow":
                    bench.slow_to_cancel = number > 0
                case _:
                    bench.monitor.stopService()
                    bench.monitor.startService()
            self.assertFalse(bench.overlapped)
            self.assertEqual(set(bench.monitor.checking), bench.inside)
        # Left to itself, each server that is still there is checked within an interval.
        bench.slow_to_cancel = False
        for closing in list(bench.closing.values()):
            if not closing.called:
                closing.callback(None)
        for id in list(bench.open):
            bench.end(PASS, id)
        bench.begun.clear()
        bench.answer = lambda server: PASS
        bench.advance(6.5)
        self.assertLessEqual(
            set(bench.view.pool.servers), {server.id for _, server, *_ in bench.begun}
        )
        self.assertEqual(bench.inside, set())
        self.assertFalse(bench.overlapped)
