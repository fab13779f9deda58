"""
Tests for L{alacrity.net.loops}.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.loops import _log_error, after_turns, uvloop_of


class _Loop:
    """
    A loop that takes a turn when a test says so.
    """

    def __init__(self) -> None:
        self.waiting: deque[Any] = deque()

    def call_soon(self, call: Any, *arguments: object) -> None:
        self.waiting.append(lambda: call(*arguments))


class LoopTests(SynchronousTestCase):
    """
    Loops, and the lack of one.
    """

    def test_other_reactors(self) -> None:
        """
        A reactor without a loop, or on another kind of loop, has no uvloop loop.
        """
        reactor: Any = MemoryReactorClock()
        self.assertIsNone(uvloop_of(reactor))
        reactor._asyncioEventloop = _Loop()
        self.assertIsNone(uvloop_of(reactor))

    def test_turns(self) -> None:
        """
        The call is made after so many turns, and not before.
        """
        loop: Any = _Loop()
        made: list[str] = []
        after_turns(loop, 3, made.append, "called")
        for _ in range(3):
            self.assertEqual(made, [])
            loop.waiting.popleft()()
        self.assertEqual((made, len(loop.waiting)), (["called"], 0))

    def test_errors(self) -> None:
        """
        The loop's errors are logged, with a traceback where there is an exception.
        """
        loop: Any = _Loop()
        _log_error(loop, {"message": "a protocol failed", "exception": ZeroDivisionError()})
        _log_error(loop, {"message": "a message alone"})
        _log_error(loop, {"exception": ZeroDivisionError()})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
