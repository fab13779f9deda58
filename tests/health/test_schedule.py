"""
L{alacrity.health.schedule}: turns and times, without a clock.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.schedule import STALE_ENTRIES, Schedule


def taken(schedule: Schedule[str], now: float) -> list[str]:
    """
    All items that can be taken.
    """
    items = []
    while (item := schedule.take_due(now)) is not None:
        items.append(item)
    return items


class ScheduleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.schedule: Schedule[str] = Schedule()

    def test_empty(self) -> None:
        self.assertIsNone(self.schedule.take_due(1e9))
        self.assertIsNone(self.schedule.next_time())
        self.assertFalse(self.schedule.has_new())

    def test_in_the_order_of_their_times(self) -> None:
        for item, time in (("c", 3.0), ("a", 1.0), ("b", 1.0)):
            self.schedule.put(item, time)
        self.assertEqual(self.schedule.next_time(), 1.0)
        self.assertEqual(taken(self.schedule, 0.9), [])
        self.assertEqual(taken(self.schedule, 2.9), ["a", "b"])
        self.assertEqual(self.schedule.next_time(), 3.0)
        self.assertEqual(taken(self.schedule, 3.0), ["c"])

    def test_new_ones_first(self) -> None:
        self.schedule.put("a", 1.0)
        self.schedule.put_new("b")
        self.schedule.put_new("c")
        self.assertTrue(self.schedule.has_new())
        self.assertEqual(taken(self.schedule, 1.0), ["b", "c", "a"])

    def test_an_item_waits_for_one_time_only(self) -> None:
        for time in (1.0, 3.0, 2.0):
            self.schedule.put("a", time)
        self.assertEqual(self.schedule.next_time(), 2.0)
        self.assertEqual(taken(self.schedule, 9.0), ["a"])

    def test_brought_forward(self) -> None:
        """
        Only what waits for a later time is.
        """
        self.schedule.put("a", 2.0)
        self.assertFalse(self.schedule.bring_forward("a", 2.0))
        self.assertFalse(self.schedule.bring_forward("a", 3.0))
        self.assertFalse(self.schedule.bring_forward("b", 1.0))
        self.assertEqual(self.schedule.next_time(), 2.0)
        self.assertTrue(self.schedule.bring_forward("a", 1.0))
        self.assertEqual(taken(self.schedule, 1.0), ["a"])
        self.assertFalse(self.schedule.bring_forward("a", 0.0))

    def test_discarded(self) -> None:
        self.schedule.put("a", 1.0)
        self.schedule.put("b", 2.0)
        self.schedule.discard("a")
        self.schedule.discard("c")
        self.assertEqual(self.schedule.next_time(), 2.0)
        self.schedule.put_new("d")
        self.schedule.clear()
        self.assertEqual(taken(self.schedule, 9.0), [])

    def test_stale_entries_are_few(self) -> None:
        for time in range(10_000):
            self.schedule.put("a", float(time))
            self.assertLessEqual(len(self.schedule._heap), STALE_ENTRIES + 2)
        self.assertEqual(self.schedule.next_time(), 9_999.0)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "discard", "bring_forward", "take_due"]),
                st.sampled_from("abcd"),
                st.integers(0, 9),
            )
        )
    )
    def test_as_a_dictionary_would(self, steps: list[tuple[str, str, int]]) -> None:
        """
        Whatever is done, the earliest item comes next.
        """
        schedule: Schedule[str] = Schedule()
        model: dict[str, float] = {}
        for step, item, time in steps:
            match step:
                case "put":
                    schedule.put(item, time)
                    model[item] = time
                case "discard":
                    schedule.discard(item)
                    model.pop(item, None)
                case "bring_forward":
                    earlier = time < model.get(item, time)
                    self.assertEqual(schedule.bring_forward(item, time), earlier)
                    if earlier:
                        model[item] = time
                case _:
                    found = schedule.take_due(time)
                    earliest = min(model.values(), default=10)
                    self.assertEqual(found is not None, earliest <= time)
                    if found is not None:
                        self.assertEqual(model.pop(found), earliest)
            self.assertEqual(schedule.next_time(), min(model.values(), default=None))
