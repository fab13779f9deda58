"""
Tests for L{alacrity.proxy.front.response}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.messages import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.front.response import ResponseWriter


def request(method: bytes = b"GET", *, minor: int = 1, keep_alive: bool = True) -> RequestHead:
    """
    A request's head.
    """
    return RequestHead(method, b"/", minor, b"a", [], [], frozenset(), 0, keep_alive)


def head(length: int) -> ResponseHead:
    """
    A response's head.
    """
    declared = length if length >= 0 else None
    return ResponseHead(200, b"OK", [], [], frozenset(), length, declared, True)


class ResponseWriterTests(SynchronousTestCase):
    """
    The bytes that a client of HTTP/1 gets.
    """

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.writer = ResponseWriter(self.transport, b"1.1 alacrity", Deadlines(Clock()))

    def take(self) -> bytes:
        """
        The bytes that were written.
        """
        sent: bytes = self.transport.value()
        self.transport.clear()
        return sent

    def test_kept_back(self) -> None:
        """
        A response that comes in one packet is written at once; until then, it can be taken
        back.
        """
        self.writer.start(request(), head(2), True)
        self.writer.write(b"h")
        self.assertEqual(self.take(), b"")
        self.assertTrue(self.writer.take_back())
        self.writer.start(request(), head(2), True)
        self.writer.flush()
        self.assertTrue(self.take().endswith(b"\r\n\r\n"))
        self.assertFalse(self.writer.take_back())
        self.writer.write(b"hi")
        self.assertEqual((self.take(), self.writer.sent), (b"hi", 2))
        self.writer.finish([])
        self.assertEqual(self.take(), b"")

    def test_chunks(self) -> None:
        """
        What has no length goes in chunks to a 1.1 client, and ends the connection of a 1.0
        client.
        """
        for length in (CHUNKED, UNTIL_CLOSE):
            self.writer.start(request(), head(length), True)
            self.writer.write(b"hi")
            self.writer.finish([b"X: y"])
            self.assertTrue(self.take().endswith(b"\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n"))
        self.assertFalse(self.writer.last)
        self.writer.start(request(minor=0), head(CHUNKED), True)
        self.writer.write(b"hi")
        self.writer.finish([])
        self.assertTrue(self.take().endswith(b"\r\n\r\nhi"))
        self.assertTrue(self.writer.last)

    def test_last(self) -> None:
        """
        The last response of a connection says so, for whatever reason it is the last.
        """
        for asked, complete, is_last in (
            (request(), True, False),
            (request(keep_alive=False), True, True),
            (request(), False, True),
        ):
            for answer in (False, True):
                self.setUp()
                if answer:
                    self.writer.answer(asked, 502, complete)
                else:
                    self.writer.start(asked, head(0), complete)
                    self.writer.finish([])
                self.assertEqual(b"\r\nConnection: close\r\n" in self.take(), is_last)
                self.assertEqual(self.writer.last, is_last)
        self.setUp()
        self.writer.make_last()
        self.writer.answer(request(b"HEAD"), 503, True)
        sent = self.take()
        self.assertIn(b"\r\nConnection: close\r\n", sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n"))

    def test_probe(self) -> None:
        """
        There is something meaningless to say before a response, and between chunks.
        """
        self.assertFalse(self.writer.probe(request(minor=0), responding=False))
        self.assertTrue(self.writer.probe(request(), responding=False))
        self.assertEqual(self.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.writer.start(request(), head(CHUNKED), True)
        self.assertFalse(self.writer.probe(request(), responding=True))
        self.writer.flush()
        self.take()
        self.assertTrue(self.writer.probe(request(), responding=True))
        self.assertEqual(self.take(), b"0")
        self.writer.finish([])
        self.writer.start(request(), head(2), True)
        self.writer.flush()
        self.assertFalse(self.writer.probe(request(), responding=True))
