"""
Tests for L{alacrity.proxy.exchange.body}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import CHUNKED, RequestHead
from alacrity.proxy.exchange.body import PACE_WINDOW, REPLAY_LIMIT, RequestBody


def body(length: int, *, rate: float = 0, named: frozenset[bytes] = frozenset()) -> RequestBody:
    """
    The body of a request, of which nothing has come.
    """
    return RequestBody(RequestHead(b"PUT", b"/", 1, b"a", [], [], named, length, True), rate)


class RequestBodyTests(SynchronousTestCase):
    """
    The bytes for the server, and the copy that is kept.
    """

    def test_framing(self) -> None:
        """
        A body of unknown length goes in chunks, with its trailer fields; any other as it is.
        """
        chunked = body(CHUNKED, named=frozenset({b"x-hop"}))
        self.assertEqual(chunked.piece(b"hi"), b"2\r\nhi\r\n")
        self.assertEqual(chunked.end([b"X: y", b"X-Hop: z"]), b"0\r\nX: y\r\n\r\n")
        self.assertEqual(chunked.kept(), b"2\r\nhi\r\n0\r\nX: y\r\n\r\n")
        plain = body(2)
        self.assertEqual((plain.piece(b"hi"), plain.end([])), (b"hi", b""))
        self.assertEqual((plain.kept(), plain.size), (b"hi", 2))

    def test_kept(self) -> None:
        """
        All of it can be sent again, until it is dropped.
        """
        plain = body(2 * REPLAY_LIMIT)
        plain.piece(b"x" * REPLAY_LIMIT)
        plain.piece(b"x")
        self.assertTrue(plain.is_kept)
        self.assertEqual(len(plain.kept()), REPLAY_LIMIT + 1)
        plain.drop()
        self.assertFalse(plain.is_kept)
        self.assertEqual((plain.piece(b"x"), plain.size), (b"x", REPLAY_LIMIT + 2))

    def test_pace(self) -> None:
        """
        The pace is averaged over a while, unless there was another's wait in it, the
        response has begun, or any pace will do.
        """
        for rate, answered, restarts, is_fair in (
            (10.0, False, False, False),
            (10.0, False, True, True),
            (10.0, True, False, True),
            (0.0, False, False, True),
        ):
            plain = body(9999, rate=rate)
            plain.piece(b"x")
            plain.check_pace(100.0, answered=answered)
            plain.check_pace(100.0 + PACE_WINDOW - 1, answered=answered)
            if restarts:
                plain.restart_pace()
            try:
                plain.check_pace(100.0 + PACE_WINDOW, answered=answered)
            except ProtocolError as error:
                self.assertEqual((error.status, is_fair), (408, False))
            else:
                self.assertTrue(is_fair)
