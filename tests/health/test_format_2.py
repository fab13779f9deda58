"""
The checks of servers in a cluster of format 2: maintenance, no check at all, servers that finish
their requests, leases, hints, and removals that the guard limits.
"""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import Verdict
from alacrity.pool import (
    Administer,
    AdminState,
    Deregister,
    ExpireLease,
    GuardLimits,
    NoCheck,
    Report,
    ReviveLease,
    ServerOptions,
    SpendGuard,
    State,
)
from tests.health.bench import EPOCH, FAIL, ID, PASS, STAYING, Bench, Health, failing
from tests.support.pools import apply_to

GONE = Verdict(passed=False, reason="status 410", answered=True, stopping=True)
BROKEN = Verdict(passed=False, reason="status 500", answered=True)


class AdministrationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(format=2)
        self.bench.monitor.startService()

    def administer(self, state: AdminState) -> None:
        apply_to(self.bench.view, Administer(ID, EPOCH, state=state))

    def test_one_without_a_check_is_not_checked(self) -> None:
        self.bench.register(check=NoCheck(), options=ServerOptions(lease=30.0))
        self.bench.advance(20.0)
        self.assertEqual((self.bench.begun, self.bench.commands), ([], []))
        self.bench.monitor.hint(ID)
        self.bench.register()
        self.assertEqual(len(self.bench.begun), 1)

    def test_in_maintenance_it_is_not_checked_and_begins_anew_afterwards(self) -> None:
        self.bench.register()
        self.bench.answer = lambda server: FAIL
        while len(self.bench.begun) < 3:
            self.bench.advance(0.1)
        self.assertIs(self.bench.state(), State.UP)
        before = len(self.bench.begun)
        self.administer(AdminState.MAINTENANCE)
        self.bench.advance(30.0)
        self.assertEqual(len(self.bench.begun), before)
        self.assertIsNone(self.bench.monitor.latest_result(ID))
        self.administer(AdminState.READY)
        self.assertEqual(len(self.bench.begun), before + 1)
        self.bench.advance(1.5)
        self.assertIs(self.bench.state(), State.PENDING)
        self.bench.advance(1.0)
        self.assertIs(self.bench.state(), State.DOWN)

    def test_maintenance_ends_a_check_in_flight(self) -> None:
        self.bench.answer = lambda server: None
        self.bench.register()
        self.administer(AdminState.MAINTENANCE)
        self.assertEqual(self.bench.cancelled, [ID])
        self.assertEqual(self.bench.monitor.checking, {})

    def test_one_that_drains_is_checked(self) -> None:
        self.bench.register()
        self.administer(AdminState.DRAIN)
        self.bench.answer = lambda server: FAIL
        self.bench.advance(10.0)
        self.assertIs(self.bench.state(), State.DOWN)


class StoppingTests(SynchronousTestCase):
    """
    Servers that answer a check with 410.
    """

    def up(self, format: int = 2) -> None:
        self.bench = Bench(format=format)
        self.bench.monitor.startService()
        self.bench.register()
        self.bench.advance(20.0)
        self.bench.commands.clear()

    def answer(self, verdict: Verdict, seconds: float = 5.5) -> State:
        self.bench.answer = lambda server: verdict
        self.bench.advance(seconds)
        return self.bench.state()

    def test_at_once_and_until_a_pass(self) -> None:
        self.up()
        self.assertIs(self.answer(GONE), State.STOPPING)
        # However long it takes.
        self.assertIs(self.answer(GONE, 100.0), State.STOPPING)
        self.assertEqual(len(self.bench.commands), 1)
        self.assertIs(self.answer(PASS), State.UP)
        self.assertEqual(len(self.bench.commands), 2)

    def test_failures_take_it_down(self) -> None:
        self.up()
        self.answer(GONE)
        self.assertIs(self.answer(FAIL, 6.5), State.STOPPING)
        self.assertIs(self.answer(FAIL, 2.0), State.DOWN)
        self.assertIs(self.answer(GONE, 60.0), State.DOWN)

    def test_one_that_was_not_up_has_failed(self) -> None:
        bench = Bench(format=2)
        bench.monitor.startService()
        bench.answer = lambda server: GONE
        bench.register()
        bench.advance(2.5)
        self.assertIs(bench.state(), State.DOWN)

    def test_in_format_1_it_is_a_failed_check(self) -> None:
        self.up(format=1)
        self.assertIs(self.answer(GONE, 10.0), State.DOWN)
        (command,) = self.bench.commands
        assert isinstance(command, Report)
        self.assertFalse(command.answered)

    def test_the_report_says_whether_there_was_an_answer(self) -> None:
        for format, verdict, answered in ((2, BROKEN, True), (2, FAIL, False), (1, BROKEN, False)):
            self.up(format)
            self.assertIs(self.answer(verdict, 10.0), State.DOWN)
            (command,) = self.bench.commands
            assert isinstance(command, Report)
            self.assertEqual(command.answered, answered)


class LeaseTests(SynchronousTestCase):
    """
    Lease and check together: both must hold.
    """

    def setUp(self) -> None:
        self.bench = Bench(format=2)
        self.bench.monitor.startService()
        self.bench.register(STAYING)
        self.revision = self.bench.register(options=ServerOptions(lease=30.0)).revision
        self.bench.advance(10.0)
        self.bench.commands.clear()

    def test_a_pass_does_not_bring_it_back_and_a_renewal_does(self) -> None:
        apply_to(self.bench.view, ExpireLease(ID, self.revision, EPOCH, GuardLimits(1.0, 60.0)))
        self.assertIs(self.bench.state(), State.DOWN)
        self.bench.advance(30.0)
        self.assertEqual(self.bench.commands, [])
        apply_to(self.bench.view, ReviveLease(ID, self.revision, EPOCH))
        self.assertIs(self.bench.state(), State.PENDING)
        self.bench.advance(2.0)
        self.assertIs(self.bench.state(), State.UP)

    def test_the_keeper_of_leases_removes_it(self) -> None:
        apply_to(self.bench.view, ExpireLease(ID, self.revision, EPOCH, GuardLimits(1.0, 60.0)))
        self.bench.answer = failing
        self.bench.advance(1000.0)
        self.assertEqual(self.bench.commands, [])

    def test_down_by_its_checks_it_is_removed_sooner_than_others(self) -> None:
        self.bench.answer = failing
        self.bench.advance(200.0)
        self.assertIs(self.bench.state(), State.DOWN)
        self.bench.advance(200.0)
        self.assertNotIn(ID, self.bench.view.pool.servers)


class HintTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(format=2, health=Health(fast_interval=0.25))
        self.bench.monitor.startService()
        self.bench.register()
        self.bench.advance(22.0)
        self.bench.begun.clear()

    def test_checked_soon_and_more_often_for_a_while(self) -> None:
        self.bench.advance(0.3)
        self.bench.begun.clear()
        self.bench.monitor.hint(ID)
        self.bench.advance(10.0)
        self.assertIn(len(self.bench.begun), (9, 10, 11))
        self.bench.begun.clear()
        self.bench.advance(21.0)
        self.assertIn(len(self.bench.begun), (4, 5, 6))

    def test_many_hints_are_one_check_a_second(self) -> None:
        for _ in range(200):
            self.bench.monitor.hint(ID)
            self.bench.advance(0.1)
        self.assertLessEqual(len(self.bench.begun), 21)

    def test_an_unknown_server(self) -> None:
        self.bench.monitor.hint("10.0.0.9:9")

    def test_it_goes_down_sooner(self) -> None:
        self.bench.answer = lambda server: FAIL
        self.bench.monitor.hint(ID)
        self.bench.advance(2.0)
        self.assertIs(self.bench.state(), State.DOWN)


class RemovalTests(SynchronousTestCase):
    """
    Removals of servers that have been down for long.
    """

    def setUp(self) -> None:
        self.bench = Bench(format=2, health=Health(deregister_after=100.0))
        self.bench.monitor.startService()
        self.bench.register(STAYING)

    def fail_all(self, count: int) -> None:
        for port in range(100, 100 + count):
            self.bench.register(port)
        self.bench.answer = failing
        self.bench.advance(10.0)

    def test_limited_by_the_guard(self) -> None:
        self.fail_all(9)
        with capturedLogs() as events:
            self.bench.advance(100.0)
            left = [len(self.bench.view.pool.servers)]
            for _ in range(6):
                self.bench.advance(60.0)
                left.append(len(self.bench.view.pool.servers))
        self.assertEqual(left, [8, 7, 6, 5, 4, 3, 2])
        removals = [each for each in self.bench.commands if isinstance(each, Deregister)]
        self.assertTrue(all(each.guard == GuardLimits(0.2, 60.0) for each in removals))
        self.assertLess(len(removals), 60)
        spent = [each for each in self.bench.commands if isinstance(each, SpendGuard)]
        self.assertEqual(spent, [SpendGuard(EPOCH)])
        kept = [event for event in events if "is kept" in event["log_format"]]
        self.assertEqual(len(kept), 7)

    def test_not_what_an_operator_has_decided(self) -> None:
        self.fail_all(1)
        apply_to(self.bench.view, Administer("10.0.0.7:100", EPOCH, state=AdminState.DRAIN))
        self.bench.advance(300.0)
        self.assertEqual([each for each in self.bench.commands if isinstance(each, Deregister)], [])
