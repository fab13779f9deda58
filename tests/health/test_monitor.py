"""
L{alacrity.health.monitor}: the times of checks, and the life of a monitor.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import CannotCheck, Checks, Verdict
from alacrity.health.monitor import CHECKS_IN_FLIGHT, STARTS, TICK
from alacrity.pool import (
    HttpCheck,
    Server,
    State,
    TcpCheck,
)
from tests.health.bench import FAIL, ID, PASS, Bench, Health, restored


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
        check, evaluate = self.bench.check, self.bench.monitor._evaluate
        for fault in (*faulty, "evaluate"):
            with self.subTest(fault):
                self.setUp()
                check, evaluate = self.bench.check, self.bench.monitor._evaluate

                def checks(
                    server: Server, *rest: Any, fault: Any = fault, check: Any = check
                ) -> Any:
                    if server.port == 81 and fault != "evaluate":
                        return succeed(fault) if isinstance(fault, int) else fault
                    return check(server, *rest)

                def evaluates(
                    watch: Any, *rest: Any, fault: Any = fault, evaluate: Any = evaluate
                ) -> None:
                    if watch.server.port == 81 and fault == "evaluate":
                        raise ZeroDivisionError
                    evaluate(watch, *rest)

                monitor: Any = self.bench.monitor
                monitor._checks = Checks(tcp=checks, http=checks)
                monitor._evaluate = evaluates
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
                monitor._evaluate = evaluate
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
