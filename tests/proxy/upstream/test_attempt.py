"""
Tests for L{alacrity.proxy.upstream.attempt}: an attempt ends once, and says how.
"""

from __future__ import annotations

import errno

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import RetrySettings
from alacrity.pool import Change
from alacrity.proxy.events import (
    Abandoned,
    AttemptEnded,
    Cause,
    Failed,
    FailureKind,
    Outcome,
    Party,
    Succeeded,
)
from alacrity.proxy.upstream.attempt import Attempt, AttemptHasEnded
from alacrity.proxy.upstream.causes import cause_of
from alacrity.proxy.upstream.connection import ServerConnection
from tests.proxy.exchange.test_tunnel import SWITCH, UPGRADE
from tests.support.wire import Proxy, Wire, server

GET = b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ID = "10.0.0.7:1"


def kind_of(outcome: Outcome) -> FailureKind:
    """
    The kind of failure that an attempt ended by.
    """
    assert not isinstance(outcome, Succeeded)
    return outcome.cause.kind


class EndTests(SynchronousTestCase):
    """
    How attempts end, as those see it who listen.
    """

    def asked(self, proxy: Proxy, request: bytes = GET) -> tuple[Wire, Wire]:
        """
        A client with a request, and the connection that it went by.
        """
        client = proxy.client()
        client.receive(request)
        return client, proxy.servers[-1]

    def ended(self, proxy: Proxy) -> Outcome:
        """
        The outcome of the only attempt, which its server does not count as active.
        """
        (ended,) = proxy.attempts
        self.assertEqual(ended.server, ID)
        upstream = proxy.balancer.upstream(ID)
        assert upstream is not None
        self.assertEqual(upstream.active, 0)
        return ended.outcome

    def test_succeeded(self) -> None:
        """
        A complete response is a success, whatever it says.
        """
        for status in (200, 404, 500):
            proxy = Proxy()
            _, wire = self.asked(proxy)
            self.assertEqual(proxy.attempts, [])
            wire.receive(OK.replace(b"200", b"%d" % status))
            self.assertEqual(self.ended(proxy), Succeeded(status))
            self.assertEqual(proxy.counted()[2:], (0, 1) if status == 500 else (1, 0))

    def test_reused(self) -> None:
        """
        An attempt says whether its connection had been used before.
        """
        proxy = Proxy()
        client, wire = self.asked(proxy)
        wire.receive(OK)
        client.receive(GET)
        wire.receive(OK)
        self.assertEqual([each.was_reused for each in proxy.attempts], [False, True])

    def test_failed(self) -> None:
        """
        The server's faults, each by its name.
        """
        for happens, kind in (
            (lambda wire: wire.lose(ConnectionDone()), FailureKind.RESET_BEFORE_RESPONSE),
            (lambda wire: (wire.receive(OK[:9]), wire.lose()), FailureKind.RESET_IN_RESPONSE),
            (lambda wire: (wire.receive(OK[:-1]), wire.lose()), FailureKind.RESET_IN_RESPONSE),
            (lambda wire: wire.receive(b"nonsense\r\n\r\n"), FailureKind.BAD_RESPONSE),
        ):
            proxy = Proxy(retries=RetrySettings(on=()))
            _, wire = self.asked(proxy)
            happens(wire)
            outcome = self.ended(proxy)
            assert isinstance(outcome, Failed)
            self.assertEqual(outcome.cause.kind, kind)
            self.assertTrue(outcome.cause.was_sent)
            self.assertEqual(proxy.counted()[2:], (0, 1))

    def test_timed_out(self) -> None:
        """
        A server that does not answer has failed; one that waits for the client has not.
        """
        proxy = Proxy()
        self.asked(proxy)
        proxy.wait(60)
        outcome = self.ended(proxy)
        self.assertIsInstance(outcome, Failed)
        self.assertEqual(kind_of(outcome), FailureKind.RESPONSE_TIMED_OUT)
        proxy = Proxy()
        self.asked(proxy, POST)
        proxy.wait(60)
        outcome = self.ended(proxy)
        self.assertIsInstance(outcome, Abandoned)
        self.assertEqual(kind_of(outcome), FailureKind.REQUEST_TIMED_OUT)

    def test_abandoned(self) -> None:
        """
        A failure that is not the server's fault is not counted.
        """
        for happens, kind in (
            (lambda proxy, client: client.lose(), FailureKind.CLIENT_GONE),
            (
                lambda proxy, client: proxy.frontend.drain().addErrback(lambda _: None).cancel(),
                FailureKind.NODE_STOPS,
            ),
            (
                lambda proxy, client: (
                    proxy.balancer.changed(Change(server(), None)),
                    proxy.wait(31),
                ),
                FailureKind.SERVER_REMOVED,
            ),
        ):
            proxy = Proxy(server_response=600.0, drain=30.0)
            client, _ = self.asked(proxy)
            upstream = proxy.balancer.upstream(ID)
            assert upstream is not None
            self.assertEqual(upstream.active, 1)
            happens(proxy, client)
            (ended,) = proxy.attempts
            self.assertIsInstance(ended.outcome, Abandoned)
            self.assertEqual(kind_of(ended.outcome), kind)
            self.assertEqual((proxy.counted()[2:], upstream.active), ((0, 0), 0))

    def test_tunnel(self) -> None:
        """
        An attempt that becomes a tunnel counts as a success at once, and ends with it.
        """
        proxy = Proxy()
        client, wire = self.asked(proxy, UPGRADE)
        wire.receive(SWITCH)
        upstream = proxy.balancer.upstream(ID)
        assert upstream is not None
        self.assertEqual((proxy.attempts, proxy.counted()[2:]), ([], (1, 0)))
        self.assertEqual((upstream.active, upstream.counter.document()["success"]), (1, 1))
        client.lose()
        self.assertEqual(self.ended(proxy), Succeeded(101))
        self.assertEqual(upstream.counter.document(), {"success": 1, "failed": 0})

    def test_connecting(self) -> None:
        """
        A connection that is not made fails one attempt after the other, with nothing sent.
        """
        proxy = Proxy(server(1), server(2))
        proxy.refusing.add(1)
        _, wire = self.asked(proxy)
        wire.receive(OK)
        refused, answered = proxy.attempts
        self.assertEqual((refused.server, answered.server), (ID, "10.0.0.7:2"))
        assert isinstance(refused.outcome, Failed)
        cause = refused.outcome.cause
        self.assertEqual(cause.kind, FailureKind.CONNECT_REFUSED)
        self.assertEqual((cause.was_sent, cause.repeat_is_safe), (False, True))
        self.assertEqual(answered.outcome, Succeeded(200))

    def test_stale(self) -> None:
        """
        A repeat is safe where the server was just closing a kept connection.
        """
        for request, is_safe in ((GET, True), (POST + b"hello", False)):
            proxy = Proxy()
            client, wire = self.asked(proxy)
            wire.receive(OK)
            client.receive(request)
            wire.lose(ConnectionDone())
            outcome = proxy.attempts[1].outcome
            assert isinstance(outcome, Failed)
            self.assertEqual(outcome.cause.repeat_is_safe, is_safe)

    def test_nobody_listens(self) -> None:
        """
        Counters count all the same.
        """
        proxy = Proxy(listens=False)
        _, wire = self.asked(proxy)
        wire.receive(OK)
        self.assertEqual((proxy.counted(), proxy.attempts), ((1, 0, 1, 0), []))


class OnceTests(SynchronousTestCase):
    """
    A second end.
    """

    def setUp(self) -> None:
        self.proxy = Proxy()
        self.client = self.proxy.client()
        self.client.receive(GET)
        attempt = self.client.protocol.exchange._attempt
        assert isinstance(attempt, Attempt)
        self.attempt = attempt

    def test_second_end(self) -> None:
        """
        It is refused, whatever it would be, and nothing is counted twice.
        """
        self.assertEqual(repr(self.attempt), f"<Attempt {ID} sent>")
        self.proxy.servers[0].receive(OK)
        upstream = self.attempt.upstream
        gone, late = Cause(FailureKind.CLIENT_GONE), Cause(FailureKind.RESPONSE_TIMED_OUT)
        for end in (
            self.attempt.finished,
            self.attempt.tunnel_closed,
            lambda: self.attempt.give_up(gone),
            lambda: self.attempt.give_up(late),
        ):
            self.assertRaises(AttemptHasEnded, end)
        self.assertEqual(self.attempt.outcome, Succeeded(200))
        self.assertEqual(self.proxy.counted(), (1, 0, 1, 0))
        self.assertEqual((len(self.proxy.attempts), upstream.active), (1, 0))
        self.assertEqual(upstream.counter.document(), {"success": 1, "failed": 0})
        self.assertIn("ended: Succeeded", repr(self.attempt))

    def test_lost_after_the_end(self) -> None:
        """
        A connection that is lost after its attempt has ended is nothing to it.
        """
        self.attempt.give_up(Cause(FailureKind.CLIENT_GONE))
        self.attempt.failed(FailureKind.RESET_BEFORE_RESPONSE, "the connection was lost")
        self.assertEqual(len(self.proxy.attempts), 1)


class LateConnectionTests(SynchronousTestCase):
    """
    Connections that are made, or not, when nobody wants them any more.
    """

    def test_made(self) -> None:
        """
        It is dropped.
        """
        connecting: list[Deferred[ServerConnection]] = []

        def connect(upstream: object) -> Deferred[ServerConnection]:
            # This one does not let itself be cancelled.
            connecting.append(Deferred(lambda _: None))
            return connecting[0]

        proxy = Proxy(connector=connect)
        client = proxy.client()
        client.receive(GET)
        client.lose()
        upstream = proxy.balancer.upstream(ID)
        assert upstream is not None
        wire = proxy.made(upstream)
        if not connecting[0].called:
            connecting[0].callback(wire.protocol)
            self.assertTrue(wire.aborted)
        self.assertEqual([type(each) for each in proxy.attempts], [AttemptEnded])


class CauseTests(SynchronousTestCase):
    """
    Why a connection could not be made.
    """

    def test_kinds(self) -> None:
        """
        Refusals, time limits and this node's shortages are told from the rest.
        """
        for error, kind in (
            (ConnectionRefusedError(), FailureKind.CONNECT_REFUSED),
            (TimeoutError(), FailureKind.CONNECT_TIMED_OUT),
            (CancelledError(), FailureKind.CONNECT_TIMED_OUT),
            (ConnectingCancelledError(None), FailureKind.CONNECT_TIMED_OUT),
            (ConnectError(errno.EHOSTUNREACH, "no way"), FailureKind.CONNECT_FAILED),
            (ZeroDivisionError(), FailureKind.CONNECT_FAILED),
            (ConnectError(errno.EMFILE, "too many"), FailureKind.NODE_SHORTAGE),
        ):
            cause = cause_of(Failure(error))
            self.assertEqual(cause.kind, kind, error)
            self.assertFalse(cause.was_sent)
            is_ours = kind is FailureKind.NODE_SHORTAGE
            self.assertEqual(cause.party, Party.NODE if is_ours else Party.SERVER)
            self.assertEqual(cause.error_code, errno.EMFILE if is_ours else 0)
