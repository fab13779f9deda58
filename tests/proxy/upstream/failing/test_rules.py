"""
Tests for the rules in L{alacrity.proxy.upstream.failing}: periods, shares and the budget.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import RetrySettings
from alacrity.proxy.events import Cause, FailureKind
from alacrity.proxy.upstream.failing.budget import RetryBudget
from alacrity.proxy.upstream.failing.ejection import counts, may_eject
from alacrity.proxy.upstream.failing.periods import Period, next_period


class PeriodTests(SynchronousTestCase):
    """
    Periods that double.
    """

    def test_aside(self) -> None:
        """
        One second, doubling to 30.
        """
        period: Period | None = None
        lengths = []
        for _ in range(8):
            period = next_period(period, 100.0, first=1.0, longest=30.0)
            lengths.append(period.length)
            self.assertEqual(period.until, 100.0 + period.length)
        self.assertEqual(lengths, [1, 2, 4, 8, 16, 30, 30, 30])

    @given(st.floats(0.1, 300), st.floats(0.1, 300), st.integers(1, 20))
    def test_bounds(self, first: float, longest: float, number: int) -> None:
        """
        No period is longer than the longest, nor shorter than the one before.
        """
        period: Period | None = None
        before = 0.0
        for _ in range(number):
            period = next_period(period, 0.0, first=first, longest=longest)
            self.assertLessEqual(period.length, longest)
            self.assertGreaterEqual(period.length, before)
            before = period.length


class ShareTests(SynchronousTestCase):
    """
    The share of servers that may be ejected.
    """

    def ejectable(self, eligible: int, share: float) -> int:
        """
        The number of servers that may be ejected, one after the other.
        """
        ejected = 0
        while may_eject(eligible, ejected, share):
            ejected += 1
        return ejected

    def test_small_pools(self) -> None:
        """
        Of one server, none; of two or three, one.
        """
        self.assertEqual([self.ejectable(n, 0.5) for n in range(6)], [0, 0, 1, 1, 2, 2])

    @given(st.integers(0, 200), st.integers(0, 100))
    def test_share(self, eligible: int, percent: int) -> None:
        """
        As many as the share of them, rounded down, after ejecting.
        """
        self.assertEqual(self.ejectable(eligible, percent / 100), eligible * percent // 100)

    def test_counts(self) -> None:
        """
        Resets, malformed responses and those that did not come count; connections that were
        not made, or that were just being closed, do not.
        """
        kind = FailureKind
        counted = {each for each in kind if counts(Cause(each), was_reused=False)}
        self.assertEqual(
            counted,
            {
                kind.RESET_BEFORE_RESPONSE,
                kind.RESET_IN_RESPONSE,
                kind.BAD_RESPONSE,
                kind.RESPONSE_TIMED_OUT,
            },
        )
        self.assertFalse(counts(Cause(kind.RESET_BEFORE_RESPONSE), was_reused=True))


class BudgetTests(SynchronousTestCase):
    """
    The budget of retries.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.requests = 0
        self.budget = RetryBudget(RetrySettings(), lambda: self.requests, self.clock.seconds)

    def take(self, wanted: int) -> int:
        """
        The retries, of those that are wanted, that are allowed.
        """
        taken = 0
        for _ in range(wanted):
            if self.budget.has_room():
                self.budget.spend()
                taken += 1
        return taken

    def test_minimum(self) -> None:
        """
        Ten in ten seconds, whatever the traffic.
        """
        self.assertEqual(self.take(100), 10)
        self.clock.advance(9.9)
        self.assertEqual(self.take(100), 0)
        self.clock.advance(0.2)
        self.assertEqual(self.take(100), 10)

    def test_share(self) -> None:
        """
        A fifth of the requests of the last ten seconds.
        """
        for _ in range(40):
            self.requests += 25
            self.clock.advance(0.25)
            self.budget.look()
        self.assertEqual(self.take(1000), 200)
        self.clock.advance(11)
        self.budget.look()
        self.assertEqual(self.take(1000), 10)

    @given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50)), max_size=200))
    def test_never_exceeded(self, steps: list[tuple[int, int]]) -> None:
        """
        In no window are there more retries than the share of its requests, and of those of one
        sample before it, or the minimum.
        """
        self.setUp()
        requests: list[tuple[float, int]] = []
        retries: list[tuple[float, int]] = []
        for come, wanted in steps:
            self.clock.advance(0.25)
            now = self.clock.seconds()
            self.requests += come
            requests.append((now, come))
            self.budget.look()
            retries.append((now, self.take(wanted)))
            recent = sum(number for at, number in requests if at >= now - 10.75)
            spent = sum(number for at, number in retries if at > now - 10)
            if retries[-1][1]:
                self.assertLessEqual(spent, max(10, recent * 0.2))
