"""
Tests for L{alacrity.proxy.upstream.retry}: what follows a failed attempt.
"""

from __future__ import annotations

import errno
from typing import Any, Final

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import RetrySettings
from alacrity.proxy.events import Cause, FailureKind
from alacrity.proxy.upstream.failing.budget import RetryBudget
from alacrity.proxy.upstream.retry import (
    MOST_UNSENT,
    FailedAttempts,
    NextStep,
    RetryRules,
    own_status,
)
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing
from tests.support.wire import server

REFUSED: Final = Cause(FailureKind.CONNECT_REFUSED, "cannot connect")
LOST: Final = Cause(FailureKind.RESET_BEFORE_RESPONSE, "lost", was_sent=True, repeat_is_safe=True)
LATE: Final = Cause(FailureKind.RESPONSE_TIMED_OUT, was_sent=True, repeat_is_safe=True)
DECLINED: Final = Cause(FailureKind.ERROR_STATUS, was_sent=True, repeat_is_safe=True)
ANOTHER, SAME, GIVE_UP = NextStep.ANOTHER_SERVER, NextStep.SAME_SERVER, NextStep.GIVE_UP


class RetryTests(SynchronousTestCase):
    """
    The rules, with a clock, and a number of requests before.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.requests = 0
        self.failed = FailedAttempts()
        self.servers = [UpstreamServer(server(port)) for port in range(1, 20)]

    def rules(self, **settings: Any) -> RetryRules:
        """
        The rules of a configuration.
        """
        chosen = RetrySettings(**settings)
        self.budget = RetryBudget(chosen, lambda: self.requests, self.clock.seconds)
        return RetryRules(chosen, self.budget, connect=3.0, monotonic=self.clock.seconds)

    def step(self, cause: Cause, rules: RetryRules, *, was_reused: bool = False) -> NextStep:
        """
        The step after the first failed attempt of a request.
        """
        return FailedAttempts().add(self.servers[0], cause, rules, was_reused=was_reused)


class RuleTests(RetryTests):
    """
    One failed attempt.
    """

    def test_defaults(self) -> None:
        """
        Nothing sent, or reset before the response: another server. A kept connection that was
        closed: the same one. Else nothing.
        """
        for cause, was_reused, step in (
            (REFUSED, False, ANOTHER),
            (LOST, False, ANOTHER),
            (LOST, True, SAME),
            (LATE, False, GIVE_UP),
            (Cause(FailureKind.RESET_BEFORE_RESPONSE, was_sent=True), True, GIVE_UP),
            (Cause(FailureKind.BAD_RESPONSE, was_sent=True), False, GIVE_UP),
            (Cause(FailureKind.SERVER_REMOVED, was_sent=True), False, GIVE_UP),
            (Cause(FailureKind.NODE_SHORTAGE, error_code=errno.EMFILE), False, GIVE_UP),
            (Cause(FailureKind.NODE_SHORTAGE, error_code=errno.EADDRNOTAVAIL), False, ANOTHER),
            (
                Cause(FailureKind.SILENT, was_sent=True, repeat_is_safe=True),
                False,
                ANOTHER,
            ),
        ):
            self.assertEqual(self.step(cause, self.rules(), was_reused=was_reused), step, cause)

    def test_causes(self) -> None:
        """
        Each cause that is configured has its retries, and no other has.
        """
        for cause, was_reused, name in (
            (REFUSED, False, "connect"),
            (LOST, False, "reset"),
            (LOST, True, "reused"),
            (LATE, False, "timeout"),
        ):
            self.assertNotEqual(
                self.step(cause, self.rules(on=(name,)), was_reused=was_reused), GIVE_UP
            )
            rules = self.rules(on=("502",))
            self.assertEqual(self.step(cause, rules, was_reused=was_reused), GIVE_UP)
        self.assertEqual(self.step(LOST, self.rules(on=("reset",)), was_reused=True), ANOTHER)

    def test_declines(self) -> None:
        """
        A response is declined for its status, while attempts and budget last.
        """
        rules = self.rules(on=("503",), attempts=2, budget_minimum=1)
        self.assertTrue(rules.declines(503, None))
        self.assertFalse(rules.declines(502, None))
        self.assertEqual(self.failed.add(self.servers[0], DECLINED, rules), ANOTHER)
        self.clock.advance(11)
        self.assertFalse(rules.declines(503, self.failed))
        self.assertTrue(rules.declines(503, None))
        self.step(DECLINED, rules)
        self.assertFalse(rules.declines(503, None))

    def test_own_status(self) -> None:
        """
        The status of the answer shows the party at fault.
        """
        for kind in FailureKind:
            status = own_status(Cause(kind))
            self.assertIn(status, {408, 500, 502, 503, 504})
        self.assertEqual(own_status(REFUSED), 502)
        self.assertEqual(own_status(Cause(FailureKind.RESPONSE_TIMED_OUT)), 504)


class FailedAttemptsTests(RetryTests):
    """
    The attempts of one request.
    """

    def test_tried(self) -> None:
        """
        A server that failed is not tried again, one that was closing is.
        """
        rules = self.rules()
        first, second, third, *_ = self.servers
        self.assertEqual(self.failed.add(first, REFUSED, rules), ANOTHER)
        self.assertEqual(self.failed.add(second, LOST, rules, was_reused=True), SAME)
        self.assertEqual(self.failed.tried, {first})
        self.assertEqual(self.failed.add(third, LOST, rules), ANOTHER)
        self.assertEqual((self.failed.tried, self.failed.unreachable), ({first, third}, {first}))
        self.assertEqual(self.failed.last, LOST)

    def test_retired(self) -> None:
        """
        Unless it has left the pool.
        """
        first = self.servers[0]
        first.retire()
        self.assertEqual(self.failed.add(first, LOST, self.rules(), was_reused=True), ANOTHER)
        status, cause = self.failed.unserved()
        self.assertEqual((status, cause.text), (503, "no server is up"))

    def test_aside(self) -> None:
        """
        Nor one that is aside, and may take long to connect to.
        """
        first = self.servers[0]
        first.set_standing(Standing.ASIDE)
        self.assertEqual(self.failed.add(first, LOST, self.rules(), was_reused=True), ANOTHER)
        self.assertEqual((self.failed.tried, self.failed.unreachable), ({first}, frozenset()))

    def test_attempts(self) -> None:
        """
        The attempts by which the request may have been sent are limited; the others do not
        count.
        """
        rules = self.rules(attempts=3)
        steps = [self.failed.add(each, LOST, rules) for each in self.servers[:3]]
        self.assertEqual(steps, [ANOTHER, ANOTHER, GIVE_UP])
        self.failed = FailedAttempts()
        for each in self.servers[:4]:
            self.assertEqual(self.failed.add(each, REFUSED, rules), ANOTHER)
        self.assertEqual(self.failed.add(self.servers[5], LOST, rules), ANOTHER)

    def test_unsent(self) -> None:
        """
        Ten servers are tried without a connection to any, or as many as fail in the time for
        one after the first; and no budget is needed.
        """
        rules = self.rules(budget_minimum=0)
        steps = [self.failed.add(each, REFUSED, rules) for each in self.servers[:MOST_UNSENT]]
        self.assertEqual(steps, [*[ANOTHER] * 9, GIVE_UP])
        self.failed = FailedAttempts()
        self.clock.advance(100)
        self.assertEqual(self.failed.add(self.servers[0], REFUSED, rules), ANOTHER)
        self.clock.advance(2.9)
        self.assertEqual(self.failed.add(self.servers[1], REFUSED, rules), ANOTHER)
        self.clock.advance(0.1)
        self.assertEqual(self.failed.add(self.servers[2], REFUSED, rules), GIVE_UP)
        self.assertEqual(self.budget.spent, 0)

    def test_budget(self) -> None:
        """
        What was sent is sent again within the budget alone; a kept connection that was closed
        is counted, and never refused.
        """
        rules = self.rules(budget_minimum=2)
        self.assertEqual(self.step(LOST, rules), ANOTHER)
        self.assertEqual(self.step(LOST, rules, was_reused=True), SAME)
        self.assertEqual(self.step(LOST, rules), GIVE_UP)
        self.assertEqual(self.step(LOST, rules, was_reused=True), SAME)
        self.requests = 20
        self.assertEqual(self.step(LOST, rules), ANOTHER)
        self.assertEqual(self.step(LOST, rules), GIVE_UP)

    def test_unserved(self) -> None:
        """
        With all tried, the answer is that to the last failure, but 503 if this node was short
        of anything.
        """
        rules = self.rules()
        first, second, *_ = self.servers
        self.assertEqual(self.failed.unserved()[0], 503)
        self.failed.add(first, REFUSED, rules)
        self.assertEqual(self.failed.unserved(), (502, REFUSED))
        shortage = Cause(FailureKind.NODE_SHORTAGE, error_code=errno.EADDRNOTAVAIL)
        self.failed.add(second, shortage, rules)
        self.assertEqual(self.failed.unserved(), (503, shortage))
