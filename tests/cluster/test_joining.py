"""
L{alacrity.cluster.joining}: a new node asks to be taken in.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.client import ApiClient, CallFailed, treq_sender
from alacrity.client.messages import ApiRequest, ApiResponse
from alacrity.cluster.joining import ATTEMPT_INTERVAL, join
from alacrity.cluster.log.members import Member
from tests.client.fake_api import FakeApi


class _Http:
    """
    A client that keeps its calls.
    """

    def __init__(self) -> None:
        self.calls: list[Deferred[Any]] = []

    def request(self, method: str, url: str, **_: object) -> Deferred[Any]:
        self.calls.append(Deferred())
        return self.calls[-1]


class StoppedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.http = _Http()
        api = ApiClient(treq_sender(self.http, "http://x", timeout=25.0))
        self.joining = Deferred.fromCoroutine(
            join(api, "http://x", Member("a", "a:1"), None, lambda: True, self.clock)
        )

    def test_while_it_asks(self) -> None:
        """
        A node that is stopped while it waits for an answer asks no more, and says nothing.
        """
        with capturedLogs() as logs:
            self.joining.cancel()
            self.clock.advance(10 * ATTEMPT_INTERVAL)
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
            self.clock.advance(ATTEMPT_INTERVAL)
            self.http.calls[1].errback(RuntimeError("no"))
            self.joining.cancel()
            self.clock.advance(10 * ATTEMPT_INTERVAL)
        self.failureResultOf(self.joining, CancelledError)
        self.assertEqual((len(self.http.calls), self.clock.getDelayedCalls()), (2, []))
        self.assertEqual(len(logs), 2)


class _Transport:
    """
    Keeps the names of those that it is told to connect to.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    def addNode(self, peer: Any) -> None:
        self.names.append(peer.member.name)


class AnswerTests(SynchronousTestCase):
    """
    Answers of the API, and what the node does on each.
    """

    CLUSTER = ApiResponse(
        200,
        b'{"members": [{"name": "a", "address": "a:1"}, {"name": "b", "address": "b:1"}]}',
    )

    def join(self, *answers: ApiResponse | Exception) -> Deferred[None]:
        self.clock = Clock()
        self.api = FakeApi(*answers)
        self.transport = _Transport()
        self.waiting = True
        client = ApiClient(self.api.send)
        me = Member("b", "b:1")
        return Deferred.fromCoroutine(
            join(client, "http://x", me, self.transport, lambda: self.waiting, self.clock)
        )

    def test_added(self) -> None:
        """
        The node connects to the other members, and is added.
        """
        with capturedLogs() as logs:
            self.successResultOf(self.join(self.CLUSTER, ApiResponse(201, b"{}")))
        self.assertEqual(self.transport.names, ["a"])
        self.assertEqual(
            self.api.requests,
            [
                ApiRequest("GET", "/cluster"),
                ApiRequest("POST", "/cluster/nodes", b'{"name":"b","address":"b:1"}'),
            ],
        )
        self.assertEqual([each["log_level"].name for each in logs], ["info"])

    def test_refused(self) -> None:
        """
        A refusal is final, and an operator must see it.
        """
        with capturedLogs() as logs:
            self.successResultOf(
                self.join(self.CLUSTER, ApiResponse(409, b'{"detail": "b is a member already"}'))
            )
        self.assertEqual(
            [(each["log_level"].name, each["why"]) for each in logs],
            [("critical", "409 b is a member already")],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_reason_is_logged_once(self) -> None:
        """
        Until the reason changes.
        """
        busy = ApiResponse(503, b'{"detail": "no leader"}')
        with capturedLogs() as logs:
            joining = self.join(busy, busy, CallFailed("gone"), busy)
            for _ in range(3):
                self.clock.advance(ATTEMPT_INTERVAL)
        self.assertEqual([each["why"] for each in logs], ["503 no leader", "gone", "503 no leader"])
        self.assertNoResult(joining)

    def test_added_without_an_answer(self) -> None:
        """
        A node that is in by now does not ask again.
        """
        joining = self.join(CallFailed("gone"))
        self.waiting = False
        self.clock.advance(ATTEMPT_INTERVAL)
        self.successResultOf(joining)
