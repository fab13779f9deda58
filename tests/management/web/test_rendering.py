"""
L{alacrity.management.web.rendering}: long answers, a slice at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from alacrity.management.web.rendering import SLICE, Renderer
from alacrity.management.web.responses import encode_json
from alacrity.pool import Register, TcpCheck
from tests.support.management_caller import ManagementCase, request, response
from tests.support.pools import apply_to


class _Turns:
    """
    A clock that calls what is due in one turn of a loop, and no more.
    """

    def __init__(self) -> None:
        self._calls: list[DelayedCall] = []

    def seconds(self) -> float:
        return 0.0

    def callLater(self, delay: float, call: Any, *arguments: Any, **named: Any) -> DelayedCall:
        later = DelayedCall(
            0.0, call, arguments, named, self._calls.remove, lambda _: None, self.seconds
        )
        self._calls.append(later)
        return later

    def turn(self) -> None:
        calls, self._calls = self._calls, []
        for each in calls:
            each.called = 1
            each.func(*each.args, **each.kw)


class RenderingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = _Turns()
        clock: Any = self.clock
        self.renderer = Renderer(clock)
        self.made = 0

    def members(self, count: int) -> Iterator[dict[str, int]]:
        for number in range(count):
            self.made += 1
            yield {"n": number}

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.clock.turn()

    def render(self, count: int) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.renderer.render(self.members(count)))

    def test_the_same_as_in_one_go(self) -> None:
        for count in (0, 1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE, 3 * SLICE + 7):
            with self.subTest(count):
                rendering = self.render(count)
                self.turns(10)
                expected = encode_json([{"n": number} for number in range(count)])
                self.assertEqual(self.successResultOf(rendering), expected)

    def test_others_go_first(self) -> None:
        rendering = self.render(5 * SLICE)
        for turn in range(5):
            self.assertFalse(rendering.called)
            self.assertEqual(self.made, (turn + 1) * SLICE)
            self.clock.turn()
        self.assertIsNotNone(self.successResultOf(rendering))

    def test_one_at_a_time(self) -> None:
        """
        However many ask, a turn of the loop has one slice.
        """
        several = [self.render(3 * SLICE) for _ in range(4)]
        made = self.made
        for _ in range(20):
            self.clock.turn()
            self.assertLessEqual(self.made - made, SLICE)
            made = self.made
        for each in several:
            self.assertIsNotNone(self.successResultOf(each))

    def test_whoever_leaves_holds_up_nobody(self) -> None:
        first, second, third = (self.render(3 * SLICE) for _ in range(3))
        self.clock.turn()
        second.cancel()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.failureResultOf(second, CancelledError)
        self.turns(10)
        self.assertIsNotNone(self.successResultOf(third))


class CallsTests(ManagementCase):
    """
    The calls that answer with all servers.
    """

    def test_many_servers(self) -> None:
        """
        The answer shows them as they were when it was asked for.
        """
        for port in range(1, 3 * SLICE + 1):
            apply_to(self.management.view, Register("10.0.0.7", port, TcpCheck(), 1, 1.0))
        for path in ("/servers", "/stats/detail"):
            connection = self.management.connect()
            connection.send(request("GET", path))
            self.assertEqual(connection.received(), b"")
            apply_to(self.management.view, Register("10.0.0.8", 1, TcpCheck(), 1, 1.0))
            self.management.clock.pump([0.0] * 5)
            answer = response(connection.received(), "GET")
            self.assertEqual(answer.status, 200)
            before = 3 * SLICE + (path != "/servers")
            self.assertEqual(len(answer.document), before)
            self.assertEqual(answer.document[0]["port"], "1")
            if path == "/servers":
                self.assertEqual(answer.headers["x-alacrity-index"], str(3 * SLICE))
