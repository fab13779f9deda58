"""
L{alacrity.cli.child}: the process that is run, without one.
"""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cli.child import Child


class ChildTests(SynchronousTestCase):
    def child(self, *ends: tuple[int, int]) -> Child:
        """
        A process with the id 7.

        @param ends: ids and wait statuses of the processes that end.
        """
        self.ends: list[Any] = [*ends, (0, 0)]
        self.sent: list[tuple[int, int]] = []
        child = Child(
            ["x"],
            wait=lambda pid, options: self.ends.pop(0),
            kill=lambda pid, number: self.sent.append((pid, number)),
        )
        child._process = SimpleNamespace(pid=7, returncode=None)  # type: ignore[assignment]
        return child

    def test_exit_status(self) -> None:
        for status, expected in ((0, 0), (3 << 8, 3), (signal.SIGTERM, 143), (9, 137)):
            child = self.child((7, status))
            child.reap()
            self.assertEqual(self.successResultOf(child.ended), expected)

    def test_orphans(self) -> None:
        """
        Orphans are reaped, and their end is not the child's.
        """
        child = self.child((8, 0), (9, 1))
        child.reap()
        self.assertNoResult(child.ended)
        self.assertEqual(self.ends, [])

    def test_no_children(self) -> None:
        def wait(pid: int, options: int) -> tuple[int, int]:
            raise ChildProcessError

        child = Child(["x"], wait=wait)
        child.reap()
        self.assertNoResult(child.ended)

    def test_signals(self) -> None:
        """
        A process that was reaped gets none: its id may be another's.
        """
        child = self.child((7, 0))
        child.signal(signal.SIGHUP)
        child.reap()
        child.signal(signal.SIGHUP)
        self.assertEqual(self.sent, [(7, signal.SIGHUP)])
