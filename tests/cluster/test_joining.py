"""
L{alacrity.cluster.joining}: a new node asks to be taken in.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.joining import AGAIN, join
from alacrity.cluster.log.members import Member


class _Http:
    """
    A client that keeps its calls.
    """

    def __init__(self) -> None:
        self.calls: list[Deferred[Any]] = []

    def get(self, url: str, **_: object) -> Deferred[Any]:
        self.calls.append(Deferred())
        return self.calls[-1]


class StoppedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.http = _Http()
        self.joining = Deferred.fromCoroutine(
            join(self.http, "http://x", Member("a", "a:1"), None, lambda: True, self.clock, {})
        )

    def test_while_it_asks(self) -> None:
        """
        A node that is stopped while it waits for an answer asks no more, and says nothing.
        """
        with capturedLogs() as logs:
            self.joining.cancel()
            self.clock.advance(10 * AGAIN)
        self.failureResultOf(self.joining, CancelledError)
        self.assertEqual((len(self.http.calls), self.clock.getDelayedCalls()), (1, []))
        self.assertEqual(logs, [])

    def test_between_two_calls(self) -> None:
        """
        A call that takes too long, which the client cancels, is made again; until the node is
        stopped.
        """
        with capturedLogs() as logs:
            self.http.calls[0].cancel()
            self.clock.advance(AGAIN)
            self.http.calls[1].errback(RuntimeError("no"))
            self.joining.cancel()
            self.clock.advance(10 * AGAIN)
        self.failureResultOf(self.joining, CancelledError)
        self.assertEqual((len(self.http.calls), self.clock.getDelayedCalls()), (2, []))
        self.assertEqual(len(logs), 2)
