"""
Drawing of the key of sticky cookies.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.proposals import OutcomeUnknown
from alacrity.node.sticky_key import StickyKeyDrawer
from alacrity.pool import Done, DrawStickyKey


class StickyKeyDrawerTests(SynchronousTestCase):
    """
    A node that leads, in a cluster of format 2.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.leads = True
        self.format = 2
        self.key = b""
        self.fails = False
        self.proposed: list[bytes] = []

        async def propose(command: DrawStickyKey) -> Done:
            self.proposed.append(command.key)
            if self.fails:
                raise OutcomeUnknown("late")
            self.key = self.key or command.key
            return Done()

        self.drawer = StickyKeyDrawer(
            propose,
            is_wanted=lambda: self.leads,
            format=lambda: self.format,
            has_key=lambda: self.key != b"",
            clock=self.clock,
        )
        self.addCleanup(self.drawer.stop)

    def test_drawn_once(self) -> None:
        """
        The leader draws one key, and looks no more.
        """
        self.drawer.update()
        self.assertEqual(len(self.key), 32)
        self.clock.pump([1.0] * 3)
        self.drawer.update()
        self.clock.pump([1.0] * 3)
        self.assertEqual(len(self.proposed), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_format(self) -> None:
        """
        In format 1, it waits.
        """
        self.format = 1
        self.drawer.update()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.proposed, [])
        self.format = 2
        self.clock.pump([1.0] * 2)
        self.assertEqual(len(self.key), 32)

    def test_failure(self) -> None:
        """
        A proposal without an outcome is made again, with another key: the first that is applied
        holds.
        """
        self.fails = True
        self.drawer.update()
        self.fails = False
        self.clock.pump([1.0] * 3)
        self.assertEqual(len(set(self.proposed)), 2)
        self.assertEqual(self.key, self.proposed[1])

    def test_not_leading(self) -> None:
        """
        Others draw none, and a leader that is deposed looks no more.
        """
        self.format = 1
        self.drawer.update()
        self.leads = False
        self.drawer.update()
        self.format = 2
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.proposed, [])
