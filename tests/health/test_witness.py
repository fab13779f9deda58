"""
L{alacrity.health.witness}: a member that checks servers once because the leader asks it to.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import CannotCheck, Checks, Verdict
from alacrity.health.witness import Witness
from alacrity.pool import (
    Administer,
    AdminState,
    Check,
    NoCheck,
    PoolView,
    Register,
    Server,
    ServerOptions,
    TcpCheck,
)
from tests.support.pools import apply_to

PASS = Verdict(passed=True, reason="connected")
FAIL = Verdict(passed=False, reason="connection refused")


class WitnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.view = PoolView()
        self.begun: list[tuple[str, float]] = []
        self.open: dict[str, Deferred[Verdict]] = {}
        self.witness = Witness(self.view, Checks(tcp=self.check, http=self.check), 3)

    def check(self, server: Server, check: Check, timeout: float) -> Deferred[Verdict]:
        self.begun.append((server.id, timeout))
        self.open[server.id] = Deferred()
        return self.open[server.id]

    def register(self, port: int, check: Check | None = None) -> tuple[str, int]:
        options = ServerOptions(lease=9.0) if isinstance(check, NoCheck) else ServerOptions()
        apply_to(self.view, Register("10.0.0.7", port, check or TcpCheck(), 1, 1.0, options))
        server = self.view.pool.servers[f"10.0.0.7:{port}"]
        return server.id, server.revision

    def ask(self, *questions: tuple[str, int]) -> Deferred[dict[str, bool]]:
        return Deferred.fromCoroutine(self.witness.check(questions, 2.0))

    def test_both_outcomes_of_real_checks(self) -> None:
        one, two = self.register(1), self.register(2)
        answer = self.ask(one, two)
        self.assertEqual(self.begun, [(one[0], 2.0), (two[0], 2.0)])
        self.open[two[0]].callback(FAIL)
        self.assertNoResult(answer)
        self.open[one[0]].callback(PASS)
        self.assertEqual(self.successResultOf(answer), {one[0]: True, two[0]: False})

    def test_a_server_that_finishes_its_requests_is_reached(self) -> None:
        one = self.register(1)
        answer = self.ask(one)
        gone = Verdict(passed=False, reason="status 410", answered=True, stopping=True)
        self.open[one[0]].callback(gone)
        self.assertEqual(self.successResultOf(answer), {one[0]: True})

    def test_of_others_it_tells_nothing(self) -> None:
        """
        Unknown here, registered anew, in maintenance, without a check.
        """
        old = self.register(1)
        self.register(1)
        kept = self.register(2)
        apply_to(self.view, Administer(kept[0], 1.0, state=AdminState.MAINTENANCE))
        unchecked = self.register(3, NoCheck())
        answer = self.ask(("10.0.0.9:1", 1), old, kept, unchecked)
        self.assertEqual((self.successResultOf(answer), self.begun), ({}, []))

    def test_what_it_cannot_check_it_leaves_out(self) -> None:
        one, two = self.register(1), self.register(2)
        answer = self.ask(one, two)
        with capturedLogs() as events:
            self.open[one[0]].errback(CannotCheck("too many open files"))
            self.open[two[0]].errback(RuntimeError("a fault"))
        self.assertEqual(self.successResultOf(answer), {})
        self.assertEqual(len(events), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_check_that_raises_at_once(self) -> None:
        one = self.register(1)
        self.witness = Witness(
            self.view, Checks(tcp=lambda *_: fail(CannotCheck("no")), http=self.check), 3
        )
        self.assertEqual(self.successResultOf(self.ask(one)), {})
        self.assertEqual(self.successResultOf(self.ask(one)), {})

    def test_a_bounded_number_at_a_time(self) -> None:
        questions = [self.register(port) for port in range(1, 6)]
        answer = self.ask(*questions)
        self.assertEqual(len(self.begun), 3)
        for id, _ in questions:
            self.open[id].callback(PASS)
        reached = self.successResultOf(answer)
        self.assertEqual(reached, {id: True for id, _ in questions})
        again = self.ask(*questions[:3])
        self.assertEqual(len(self.begun), 8)
        self.assertNoResult(again)

    def test_a_server_is_checked_once_for_two_questions(self) -> None:
        one = self.register(1)
        answers = [self.ask(one), self.ask(one)]
        self.assertEqual(len(self.begun), 1)
        self.open[one[0]].callback(PASS)
        for answer in answers:
            self.assertEqual(self.successResultOf(answer), {one[0]: True})
        self.ask(one)
        self.assertEqual(len(self.begun), 2)

    def test_one_that_is_removed_before_its_turn(self) -> None:
        questions = [self.register(port) for port in range(1, 5)]
        answer = self.ask(*questions)
        self.register(4)
        for id, _ in questions[:3]:
            self.open[id].callback(FAIL)
        reached = self.successResultOf(answer)
        self.assertEqual(reached, {id: False for id, _ in questions[:3]})
