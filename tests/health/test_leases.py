"""
L{alacrity.health.leases}: the lengths of leases, and when they expire.
"""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.leases import LeaseBook, RenewalIntervals
from alacrity.pool import NoCheck, Server, ServerOptions, State

MARGIN = 1.5
LENGTHS = st.floats(3.0, 86400.0)


def leased(asked: float = 30.0, revision: int = 1, port: int = 80) -> Server:
    return Server(
        "10.0.0.7",
        port,
        NoCheck(),
        1,
        State.UP,
        "",
        0.0,
        0.0,
        revision,
        options=ServerOptions(lease=asked),
    )


class IntervalTests(SynchronousTestCase):
    def test_a_third_of_a_lease(self) -> None:
        intervals = RenewalIntervals()
        intervals.add(30.0, 0.0)
        self.assertEqual(intervals.renew_after(30.0), 10.0)
        self.assertEqual(intervals.granted(30.0), 30.0)

    def test_stretched_for_many(self) -> None:
        intervals = RenewalIntervals()
        for _ in range(10_000):
            intervals.add(3.0, 0.0)
        self.assertAlmostEqual(intervals.renew_after(3.0), 200.0, delta=0.01)
        self.assertAlmostEqual(intervals.granted(3.0), 600.0, delta=0.01)
        # Long ones need not be stretched.
        self.assertEqual(intervals.renew_after(6000.0), 2000.0)

    @given(st.lists(st.tuples(LENGTHS, st.integers(1, 300)), min_size=1, max_size=6))
    def test_at_most_fifty_a_second(self, leases: list[tuple[float, int]]) -> None:
        intervals = RenewalIntervals()
        for asked, count in leases:
            for _ in range(count):
                intervals.add(asked, 0.0)
        rate = sum(count / intervals.renew_after(asked) for asked, count in leases)
        self.assertLessEqual(rate, 50.0 * 1.001)
        for asked, _ in leases:
            granted, after = intervals.granted(asked), intervals.renew_after(asked)
            self.assertGreaterEqual(granted, asked)
            self.assertGreaterEqual(granted * 1.000001, 3 * after)

    @given(
        st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.floats(0, 5)), max_size=40),
        st.sampled_from([3.0, 30.0, 300.0]),
    )
    def test_no_later_leader_grants_less_than_is_left(
        self, changes: list[tuple[bool, int, float]], asked: float
    ) -> None:
        """
        Whatever was granted, the longest time as of later does not end before it.
        """
        intervals = RenewalIntervals()
        counts = [0, 0, 0, 0]
        now = 0.0
        granted: list[tuple[float, float]] = []
        for more, which, passed in changes:
            lengths = (3.0, 6.0, 30.0, 300.0)
            for _ in range(300):
                if more:
                    intervals.add(lengths[which], now)
                    counts[which] += 1
                elif counts[which]:
                    intervals.remove(lengths[which], now)
                    counts[which] -= 1
            granted.append((now, intervals.granted(asked)))
            now += passed
            for at, length in granted:
                if at + length > now:
                    self.assertGreaterEqual(now + intervals.longest(asked, now) + 1e-6, at + length)


class BookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.intervals = RenewalIntervals()
        self.book = LeaseBook(self.intervals, MARGIN)
        self.server = leased()
        self.intervals.add(30.0, 0.0)
        self.lease = self.book.put(self.server, 100.0)

    def expired_at(self, now: float) -> bool:
        return bool(self.book.take_expired(now))

    def test_a_full_lease_at_first_and_the_margin(self) -> None:
        self.assertFalse(self.expired_at(131.4))
        self.assertTrue(self.expired_at(131.5))
        self.assertFalse(self.expired_at(200.0))

    def test_a_renewal(self) -> None:
        renewal = self.book.renew(self.lease, 120.0)
        self.assertEqual((renewal.lease, renewal.renew_after), (30.0, 10.0))
        self.assertFalse(self.expired_at(149.9))
        self.assertTrue(self.expired_at(150.0))

    def test_a_renewal_shortens_nothing(self) -> None:
        self.book.renew(self.lease, 100.0)
        self.assertFalse(self.expired_at(131.4))

    def test_after_it_has_expired(self) -> None:
        self.assertTrue(self.expired_at(140.0))
        self.assertFalse(self.lease.renewed)
        self.book.renew(self.lease, 150.0)
        self.assertTrue(self.lease.renewed)
        self.assertFalse(self.expired_at(179.9))
        self.assertTrue(self.expired_at(180.0))

    def test_changes_of_a_registration_and_a_new_one(self) -> None:
        same = msgspec.structs.replace(self.server, weight=7)
        self.assertIs(self.book.put(same, 120.0), self.lease)
        self.assertIs(self.lease.server, same)
        again = self.book.put(leased(60.0, revision=2), 120.0)
        self.assertIsNot(again, self.lease)
        self.assertFalse(self.expired_at(181.4))
        self.assertEqual(self.book.take_expired(181.5), [again])

    def test_a_stop_of_the_process(self) -> None:
        self.book.discount(5.0)
        self.assertFalse(self.expired_at(136.4))
        self.assertTrue(self.expired_at(136.5))
        self.book.renew(self.lease, 140.0)
        self.book.grant_all(160.0)
        self.assertFalse(self.expired_at(191.4))
        self.assertTrue(self.expired_at(191.5))

    def test_tried_again_but_not_if_renewed(self) -> None:
        self.assertTrue(self.expired_at(140.0))
        self.book.try_again(self.lease, 140.0, 60.0)
        self.assertFalse(self.expired_at(199.9))
        self.assertTrue(self.expired_at(200.0))
        self.book.renew(self.lease, 210.0)
        self.book.try_again(self.lease, 210.0, 1.0)
        self.assertFalse(self.expired_at(239.9))

    def test_a_server_that_is_gone(self) -> None:
        self.book.discard(self.server.id)
        self.assertFalse(self.expired_at(1000.0))
        self.assertIsNone(self.book.get(self.server.id))
        self.book.try_again(self.lease, 1000.0, 1.0)
        self.assertFalse(self.expired_at(2000.0))
