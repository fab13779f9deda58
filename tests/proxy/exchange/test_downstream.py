"""
Exchanges whose client does not speak HTTP/1: several streams share one fake connection, as
those of HTTP/2 do.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import CHUNKED, RequestHead, ResponseHead
from alacrity.pool import State
from alacrity.proxy.deadlines import NEVER
from alacrity.proxy.events import FailureKind
from alacrity.proxy.exchange.exchange import Exchange
from alacrity.proxy.exchange.phase import ExchangePhase
from alacrity.proxy.interfaces import TunnelReceiver
from alacrity.proxy.upstream.affinity import ClientAffinity
from tests.support.wire import Proxy, server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def head(method: bytes = b"GET", length: int = 0, **fields: Any) -> RequestHead:
    """
    The head of a request that no HTTP/1 parser has read.
    """
    return RequestHead(method, b"/a", 1, b"a", [], [], frozenset(), length, True, **fields)


class Multiplexer:
    """
    One connection with many streams; what is sent on it are frames: stream, kind, content.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.frames: list[tuple[int, str, object]] = []
        self.affinity = ClientAffinity("always")
        self.streams = 0

    def open(self, request: RequestHead) -> Stream:
        """
        The client begins a request.
        """
        self.streams += 2
        stream = Stream(self, self.streams - 1, request)
        stream.exchange.start(b"%b /a HTTP/1.1\r\n\r\n" % request.method)
        return stream


class Stream:
    """
    One stream: a Downstream, and the sink of its response.
    """

    client = b"203.0.113.9"
    full = False
    sent = 0
    unacknowledged: int | None = None

    def __init__(self, connection: Multiplexer, number: int, request: RequestHead) -> None:
        self.connection = connection
        self.number = number
        self.reading = True
        self.deadline = NEVER
        self.over = ""
        self.tunnel: TunnelReceiver | None = None
        self.kept_back: list[tuple[str, object]] = []
        connection.proxy.deadlines.add(self)
        self.exchange = Exchange(connection.proxy.exchanges, self, connection.affinity, request)

    def frame(self, kind: str, content: object) -> None:
        """
        Send a frame.
        """
        self.connection.frames.append((self.number, kind, content))

    @property
    def response(self) -> Stream:
        return self

    # For the deadlines

    def expired(self) -> None:
        self.deadline = NEVER
        self.exchange.expired()

    # ResponseSink

    def inform(self, request: RequestHead, head: ResponseHead) -> None:
        self.frame("informs", head.status)

    def start(self, request: RequestHead, head: ResponseHead, complete: bool) -> None:
        self.sent = 0
        self.kept_back = [("head", head.status)]

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        if self.kept_back:
            self.kept_back.append(("data", data))
        else:
            self.frame("data", data)

    def finish(self, trailers: list[bytes]) -> None:
        self.flush()
        self.frame("end", trailers)

    def flush(self) -> None:
        kept_back, self.kept_back = self.kept_back, []
        for kind, content in kept_back:
            self.frame(kind, content)

    def take_back(self) -> bool:
        kept_back, self.kept_back = self.kept_back, []
        return bool(kept_back)

    def answer(self, request: RequestHead, status: int, complete: bool) -> None:
        self.frame("head", status)
        self.frame("end", [])

    # Downstream

    def is_secure(self, request: RequestHead) -> bool:
        return True

    def await_until(self, seconds: float) -> None:
        self.deadline = self.connection.proxy.deadlines.now + seconds

    def unsent(self) -> int | None:
        return self.unacknowledged

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def ended(self, complete: bool) -> None:
        self.over = "complete" if complete else "early"
        self.deadline = NEVER

    def break_off(self) -> None:
        self.over = "broken off"
        self.frame("reset", None)

    def switch(self, head: ResponseHead, said: bytes, tunnel: TunnelReceiver) -> None:
        self.tunnel = tunnel
        self.frame("head", head.status)
        if said:
            self.write(said)

    def end(self) -> None:
        self.frame("end", [])

    def close(self) -> None:
        self.frame("end", [])

    def abort(self) -> None:
        self.frame("reset", None)


class StreamTests(SynchronousTestCase):
    """
    Exchanges over streams.
    """

    def setUp(self) -> None:
        self.proxy = Proxy()
        self.client = Multiplexer(self.proxy)

    def take(self, stream: Stream) -> list[tuple[str, object]]:
        """
        The frames of a stream since this was asked last.
        """
        frames = self.client.frames
        mine = [(kind, content) for number, kind, content in frames if number == stream.number]
        self.client.frames = [each for each in frames if each[0] != stream.number]
        return mine

    def test_get(self) -> None:
        """
        Two requests at once on one connection, answered in the other order.
        """
        first, second = self.client.open(head()), self.client.open(head())
        one, two = self.proxy.servers
        self.assertEqual(one.take(), b"GET /a HTTP/1.1\r\n\r\n")
        two.receive(OK)
        self.assertEqual(self.take(second), [("head", 200), ("data", b"hi"), ("end", [])])
        self.assertEqual((first.over, second.over), ("", "complete"))
        one.receive(OK.replace(b"hi", b"ho"))
        self.assertEqual(self.take(first), [("head", 200), ("data", b"ho"), ("end", [])])
        self.assertEqual(self.proxy.counted(), (2, 0, 2, 0))
        self.assertEqual([ended.sent for ended, _ in self.proxy.recorded], [2, 2])

    def test_no_chunks(self) -> None:
        """
        How the server frames a body is nothing to the client: it gets the content and the
        trailer fields.
        """
        stream = self.client.open(head())
        self.proxy.servers[0].receive(STREAM + b"2\r\nhi\r\n")
        self.assertEqual(self.take(stream), [("head", 200), ("data", b"hi")])
        self.proxy.servers[0].receive(b"2\r\nho\r\n0\r\nX: y\r\n\r\n")
        self.assertEqual(self.take(stream), [("data", b"ho"), ("end", [b"X: y"])])

    def test_connection_is_shared(self) -> None:
        """
        The next stream uses the server's connection again.
        """
        for _ in range(3):
            stream = self.client.open(head())
            self.proxy.servers[0].receive(OK)
            self.assertEqual(stream.over, "complete")
        self.assertEqual(len(self.proxy.servers), 1)

    def test_request_body(self) -> None:
        """
        A body streams to the server, in its framing. While the server takes no more, that
        one stream waits.
        """
        stream, other = self.client.open(head(b"POST", CHUNKED)), self.client.open(head())
        wire = self.proxy.servers[0]
        wire.take()
        stream.exchange.body_received(b"he")
        self.assertEqual(wire.take(), b"2\r\nhe\r\n")
        wire.producer.pauseProducing()
        self.assertEqual((stream.reading, other.reading), (False, True))
        wire.producer.resumeProducing()
        self.assertTrue(stream.reading)
        stream.exchange.body_received(b"llo")
        stream.exchange.request_finished([b"X: y"])
        self.assertEqual(wire.take(), b"3\r\nllo\r\n0\r\nX: y\r\n\r\n")
        wire.receive(OK)
        self.assertEqual(stream.over, "complete")

    def test_response_back_pressure(self) -> None:
        """
        A stream whose client takes no more has its server wait, and no other.
        """
        stream, other = self.client.open(head()), self.client.open(head())
        for wire in self.proxy.servers:
            wire.receive(OK[:-1])
        stream.exchange.pause_response()
        self.assertEqual([wire.reading for wire in self.proxy.servers], [False, True])
        stream.exchange.resume_response()
        self.assertTrue(self.proxy.servers[0].reading)
        stream.exchange.pause_response()
        self.proxy.servers[1].receive(OK[-1:])
        self.assertEqual(other.over, "complete")
        self.proxy.wait(60)
        self.assertEqual(self.take(stream)[-1], ("reset", None))
        cause = self.proxy.recorded[-1][0].cause
        assert cause is not None
        self.assertEqual(cause.kind, FailureKind.RESPONSE_NOT_READ)

    def test_early_answer(self) -> None:
        """
        An answer that comes before the request is complete.
        """
        stream = self.client.open(head(b"POST", 5))
        self.proxy.servers[0].receive(OK)
        self.assertEqual(stream.over, "early")

    def test_body_that_stops(self) -> None:
        """
        A body that does not come is a 408.
        """
        stream = self.client.open(head(b"POST", 5))
        self.proxy.wait(60)
        self.assertEqual(self.take(stream), [("head", 408), ("end", [])])

    def test_body_too_slow(self) -> None:
        """
        One that comes too slowly is refused to whoever reads it.
        """
        stream = self.client.open(head(b"POST", 9999))
        stream.exchange.body_received(b"x")
        self.proxy.wait(25)
        with self.assertRaises(ProtocolError) as raised:
            stream.exchange.body_received(b"x")
        stream.exchange.reject(raised.exception.status, str(raised.exception))
        self.assertEqual(self.take(stream), [("head", 408), ("end", [])])
        self.assertTrue(self.proxy.servers[0].aborted)

    def test_bad_gateway(self) -> None:
        """
        Nonsense is a 502 on the stream that it was for.
        """
        stream, other = self.client.open(head()), self.client.open(head())
        self.proxy.servers[0].receive(b"nonsense\r\n\r\n")
        self.assertEqual(self.take(stream), [("head", 502), ("end", [])])
        self.assertEqual((stream.over, other.over), ("complete", ""))

    def test_taken_back(self) -> None:
        """
        So is a response at fault of which the client has seen nothing.
        """
        stream = self.client.open(head())
        self.proxy.servers[0].receive(STREAM + b"2\r\nhi\r\nnonsense")
        self.assertEqual(self.take(stream), [("head", 502), ("end", [])])

    def test_unserved(self) -> None:
        """
        Without a server, it is a 503.
        """
        self.proxy = Proxy(server(state=State.DOWN))
        self.client = Multiplexer(self.proxy)
        self.assertEqual(self.take(self.client.open(head())), [("head", 503), ("end", [])])

    def test_broken_off(self) -> None:
        """
        A response that stops in the middle resets its stream.
        """
        stream = self.client.open(head())
        self.proxy.servers[0].receive(OK[:-1])
        self.proxy.servers[0].lose(ConnectionDone())
        self.assertEqual(self.take(stream), [("head", 200), ("data", b"h"), ("reset", None)])
        self.assertEqual(self.proxy.counted(), (0, 1, 0, 1))

    def test_interim(self) -> None:
        """
        Interim responses come before the final one.
        """
        stream = self.client.open(head())
        self.proxy.servers[0].receive(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        self.assertEqual(self.take(stream), [("informs", 103)])
        self.proxy.servers[0].receive(OK)
        self.assertEqual(self.take(stream)[0], ("head", 200))

    def test_sent_again(self) -> None:
        """
        A kept connection that the server was just closing: sent again, unseen.
        """
        self.client.open(head())
        self.proxy.servers[0].receive(OK)
        stream = self.client.open(head())
        self.proxy.servers[0].lose(ConnectionDone())
        self.proxy.servers[1].receive(OK)
        self.assertEqual(self.take(stream), [("head", 200), ("data", b"hi"), ("end", [])])

    def test_abandoned(self) -> None:
        """
        A stream that its client resets ends its request, and no other.
        """
        stream, other = self.client.open(head()), self.client.open(head())
        self.assertEqual(stream.exchange.phase, ExchangePhase.SENT)
        stream.exchange.abandon()
        self.assertEqual(stream.exchange.phase, ExchangePhase.ENDED)
        self.assertEqual([wire.aborted for wire in self.proxy.servers], [True, False])
        self.proxy.servers[1].receive(OK)
        self.assertEqual(other.over, "complete")
        self.assertEqual(self.proxy.counted(), (1, 0, 1, 0))

    def test_tunnel(self) -> None:
        """
        A stream can be one end of a tunnel.
        """
        stream = self.client.open(head(upgrade=b"websocket"))
        wire = self.proxy.servers[0]
        wire.take()
        wire.receive(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        self.assertEqual(self.take(stream), [("head", 101), ("data", b"hello")])
        assert stream.tunnel is not None
        stream.tunnel.received(b"hi")
        self.assertEqual(wire.take(), b"hi")
        stream.tunnel.full()
        self.assertFalse(wire.reading)
        stream.tunnel.drained()
        wire.receive(b"bye")
        self.assertEqual(self.take(stream), [("data", b"bye")])
        wire.end()
        self.assertEqual(self.take(stream), [("end", [])])
        stream.tunnel.ended()
        stream.tunnel.lost()
        self.assertTrue(wire.lost)
        ((ended, status),) = self.proxy.recorded
        self.assertEqual((status, ended.sent), (101, 8))
