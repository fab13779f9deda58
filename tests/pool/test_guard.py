"""
L{alacrity.pool.guard}: the limit on the servers that are lost without anybody's asking.
"""

from __future__ import annotations

from math import floor, inf, nan

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool.guard import GuardLimits, GuardWindow, spent_window

LIMITS = GuardLimits(0.2, 60.0)


def _attempt(
    window: GuardWindow, time: float, servers: int, limits: GuardLimits = LIMITS
) -> tuple[GuardWindow, bool]:
    """
    The window after an attempt to lose a server, and whether it may be lost.
    """
    window = window.at(time, servers, limits)
    allowed = window.allows(limits)
    return (window.count() if allowed else window), allowed


class GuardTests(SynchronousTestCase):
    """
    L{GuardWindow}.
    """

    def test_allowance(self) -> None:
        """
        The share is rounded down, and one server always may be lost.
        """
        for servers, allowed in ((1, 1), (4, 1), (9, 1), (10, 2), (14, 2), (15, 3), (100, 20)):
            window, lost = GuardWindow(), 0
            for _ in range(servers + 1):
                window, may = _attempt(window, 1000.0, servers)
                lost += may
            self.assertEqual(lost, allowed, servers)

    def test_share_of_a_decimal_fraction(self) -> None:
        """
        0.29 * 100 is a bit less than 29 as floating-point numbers, and means 29.
        """
        window = GuardWindow(0.0, 100, 28)
        self.assertTrue(window.allows(GuardLimits(0.29, 60.0)))
        self.assertFalse(window.count().allows(GuardLimits(0.29, 60.0)))

    def test_number_at_the_start_counts(self) -> None:
        """
        Servers that come or go within a window do not change its allowance.
        """
        window, _ = _attempt(GuardWindow(), 1000.0, 10)
        window, may = _attempt(window, 1001.0, 5)
        self.assertTrue(may)
        self.assertFalse(_attempt(window, 1002.0, 100)[1])

    def test_new_window(self) -> None:
        """
        After its length, a new window begins at the next attempt.
        """
        window, _ = _attempt(GuardWindow(), 1000.0, 1)
        self.assertFalse(_attempt(window, 1059.9, 1)[1])
        window, may = _attempt(window, 1060.0, 1)
        self.assertTrue(may)
        self.assertEqual(window, GuardWindow(1060.0, 1, 1))

    def test_spent_window(self) -> None:
        """
        A window without an allowance ends like others.
        """
        window = spent_window(1000.0, 10)
        self.assertFalse(_attempt(window, 1059.9, 100, GuardLimits(1.0, 60.0))[1])
        self.assertTrue(_attempt(window, 1060.0, 10)[1])

    def test_clock_set_back(self) -> None:
        """
        A clock set back by more than a window spends the new window. One set back by less,
        or commands in another order than that of their times, change nothing.
        """
        window, _ = _attempt(GuardWindow(), 1000.0, 10)
        self.assertEqual(window.at(990.0, 10, LIMITS), window)
        window, may = _attempt(window, 900.0, 10)
        self.assertEqual((window, may), (spent_window(900.0, 10), False))
        self.assertTrue(_attempt(window, 960.0, 10)[1])

    def test_numbers_that_nobody_has_configured(self) -> None:
        """
        A share that is no share allows one, or all, and raises no exception.
        """
        for share, allowed in ((-1.0, 1), (nan, 1), (0.0, 1), (7.0, 10), (inf, 10), (-inf, 1)):
            limits = GuardLimits(share, 60.0)
            self.assertTrue(GuardWindow(0.0, 10, allowed - 1).allows(limits), share)
            self.assertFalse(GuardWindow(0.0, 10, allowed).allows(limits), share)

    @given(
        st.lists(st.tuples(st.floats(0.0, 1000.0), st.integers(1, 40)), max_size=80),
        st.floats(0.0, 1.0),
        st.floats(1.0, 200.0),
        st.booleans(),
    )
    def test_rate(
        self, attempts: list[tuple[float, int]], share: float, length: float, spent: bool
    ) -> None:
        """
        With commands of any times, no window has more losses than its share, and a window
        with an allowance begins only a whole length after the one before.
        """
        limits = GuardLimits(share, length)
        window = spent_window(500.0, 5) if spent else GuardWindow()
        lost = 0
        for time, servers in attempts:
            before = window
            window = window.at(time, servers, limits)
            if window is not before:
                lost = 0
                if window.used == 0:
                    self.assertGreaterEqual(window.start - before.start, length)
            if window.allows(limits):
                window = window.count()
                lost += 1
            self.assertLessEqual(lost, max(1, floor(share * window.servers + 1e-9)))

    @given(
        st.lists(st.tuples(st.floats(), st.booleans()), max_size=30),
        st.floats(),
        st.floats(1.0, 200.0),
        st.floats(0.0, 1e9),
    )
    def test_it_never_stops(
        self, attempts: list[tuple[float, bool]], share: float, length: float, time: float
    ) -> None:
        """
        Whatever clocks have said: attempts at times that pass as they should are allowed
        within two windows.
        """
        limits = GuardLimits(share, length)
        window = GuardWindow()
        for earlier, spend in attempts:
            if spend:
                window = spent_window(earlier, 3)
            else:
                window, _ = _attempt(window, earlier, 3, limits)
        steps = 20
        allowed = []
        for step in range(2 * steps + 2):
            window, may = _attempt(window, time + step * length / steps, 3, limits)
            allowed.append(may)
        self.assertTrue(any(allowed))
