"""
Tests for L{alacrity.runtime.collector}.
"""

from __future__ import annotations

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.runtime.collector import COUNT_EVERY, SPARE, YOUNG, Collector


class Cycles:
    """
    A double of L{gc}.

    @ivar told: what it was, since last asked.
    @ivar frozen: how many objects are.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.frozen = 1000
        self.threshold = (1, 2, 3)

    def collect(self) -> int:
        self.told.append("collect")
        return 0

    def freeze(self) -> None:
        self.told.append("freeze")

    def unfreeze(self) -> None:
        self.told.append("unfreeze")

    def get_freeze_count(self) -> int:
        return self.frozen

    def get_threshold(self) -> tuple[int, int, int]:
        return self.threshold

    def set_threshold(self, young: int, middle: int, old: int, /) -> None:
        self.threshold = (young, middle, old)

    def take(self) -> list[str]:
        """The calls that it got."""
        told, self.told = self.told, []
        return told


class CollectorTests(SynchronousTestCase):
    """
    When it looks at what.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.cycles = Cycles()
        self.collector = Collector(self.clock, self.cycles)

    def test_start(self) -> None:
        """
        All is looked through once, and not again of itself.
        """
        self.collector.start()
        self.assertEqual(self.cycles.take(), ["unfreeze", "collect", "freeze"])
        self.assertEqual(self.cycles.threshold, YOUNG)

    def test_new(self) -> None:
        """
        New objects are collected each second.
        """
        self.collector.start()
        self.cycles.take()
        self.clock.pump([0.5] * 6)
        self.assertEqual(self.cycles.take(), ["collect", "freeze"] * 3)

    def test_grown(self) -> None:
        """
        All is looked through when there is much more of it, and then not again.
        """
        self.collector.start()
        self.cycles.frozen = 2000 + SPARE
        self.cycles.take()
        self.clock.pump([1.0] * COUNT_EVERY)
        self.assertNotIn("unfreeze", self.cycles.take())
        self.cycles.frozen += 1
        self.clock.pump([1.0] * COUNT_EVERY)
        self.assertEqual(self.cycles.take()[-3:], ["unfreeze", "collect", "freeze"])
        self.clock.pump([1.0] * COUNT_EVERY)
        self.assertNotIn("unfreeze", self.cycles.take())

    def test_stop(self) -> None:
        """
        Python does as it is used to again.
        """
        self.collector.start()
        self.cycles.take()
        self.collector.stop()
        self.assertEqual(self.cycles.take(), ["unfreeze"])
        self.assertEqual(self.cycles.threshold, (1, 2, 3))
        self.collector.stop()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.cycles.take(), [])

    def test_real(self) -> None:
        """
        It does so with Python's own.
        """
        usual = gc.get_threshold()
        collector = Collector(self.clock)
        collector.start()
        self.addCleanup(collector.stop)
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertEqual(gc.get_threshold(), YOUNG)
        self.clock.advance(1)
        collector.stop()
        self.assertEqual((gc.get_freeze_count(), gc.get_threshold()), (0, usual))
