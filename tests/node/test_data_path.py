"""
Tests for L{alacrity.node.data_path}: what the listeners make of the ends of requests.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import Settings, parse
from alacrity.http1.messages import RequestHead
from alacrity.metrics.counters import Stats
from alacrity.node.data_path import DataPath, InFlight, access_record, node_listeners
from alacrity.node.descriptors import Budget
from alacrity.pool import Change, Condition, Deregister, PoolView, ServerOptions, State
from alacrity.proxy.events import Cause, FailureKind, RequestEnded
from alacrity.runtime.access_log import AccessRecord
from tests.support.pools import ID, apply_to, register
from tests.support.wire import server

HEAD: Final = RequestHead(
    b"GET",
    b"/a",
    1,
    b"example.org",
    [b"Referer: http://b/", b"User-Agent: x"],
    [],
    frozenset(),
    0,
    True,
)
CAUSE: Final = Cause(FailureKind.BAD_RESPONSE, "nonsense", was_sent=True)


class AccessRecordTests(SynchronousTestCase):
    """
    The access log's record of a request.
    """

    def setUp(self) -> None:
        self.patch(time, "time", lambda: 9.0)

    def test_request(self) -> None:
        """
        A request and its response.
        """
        ended = RequestEnded(
            client=b"203.0.113.9",
            request=HEAD,
            status=200,
            sent=7,
            complete=False,
            duration=2.5,
            server="10.0.0.7:1",
            cause=CAUSE,
            reason="nonsense",
        )
        self.assertEqual(
            access_record(ended),
            AccessRecord(
                client="203.0.113.9",
                time=9.0,
                status=200,
                method=b"GET",
                target=b"/a",
                version="HTTP/1.1",
                body_bytes=7,
                complete=False,
                referer=b"http://b/",
                user_agent=b"x",
                duration=2.5,
                server="10.0.0.7:1",
                reason="nonsense",
            ),
        )

    def test_not_understood(self) -> None:
        """
        Input that was no request.
        """
        self.assertEqual(
            access_record(RequestEnded(b"", None, 400, reason="no good")),
            AccessRecord(client="", time=9.0, status=400, reason="no good"),
        )


class ListenersTests(SynchronousTestCase):
    """
    Counters, the access log, the log.
    """

    def test_failure(self) -> None:
        """
        A failure is logged for those who look for it, and recorded.
        """
        records: list[AccessRecord] = []
        told = node_listeners(Stats(), records.append)
        with capturedLogs() as events:
            told.request_ended(RequestEnded(b"", HEAD, 200))
            told.request_ended(RequestEnded(b"::1", HEAD, 502, cause=CAUSE, reason="nonsense"))
        self.assertEqual([record.status for record in records], [200, 502])
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.debug)
        self.assertEqual(event["log_format"].format(**event), "::1: 502: nonsense (server: -)")

    def test_no_access_log(self) -> None:
        """
        Without one, nobody listens to requests; counters count.
        """
        stats = Stats()
        told = node_listeners(stats, None)
        self.assertIsNone(told.requests)
        told.count_request(True)
        told.count_attempt(False)
        told.tunnel_opened()
        self.assertEqual(stats.client.document(), {"success": 1, "failed": 0})
        self.assertEqual(stats.server.document(), {"success": 0, "failed": 1})
        self.assertEqual(stats.tunnels, 1)
        told.tunnel_closed()
        self.assertEqual(stats.tunnels, 0)


class ChoiceTests(SynchronousTestCase):
    """
    The choice of a server, as it is configured.
    """

    def data_path(self, text: str = "") -> DataPath:
        """
        A data path with a server that is up.
        """
        settings = parse(text) if text else Settings()
        data_path = DataPath(Clock(), settings, lambda: b"key")
        data_path.changed(Change(None, server(1)))
        return data_path

    def test_cap(self) -> None:
        """
        Servers that were registered without a cap have the configured one.
        """
        for text, options, expected in (
            ("", ServerOptions(), 0),
            ("[queue]\nmax_requests = 7", ServerOptions(), 7),
            ("[queue]\nmax_requests = 7", ServerOptions(max_requests=0), 0),
            ("[queue]\nmax_requests = 7", ServerOptions(max_requests=3), 3),
        ):
            data_path = self.data_path(text)
            two = msgspec.structs.replace(server(2), options=options)
            data_path.balancer.changed(Change(None, two))
            upstream = data_path.balancer.upstream(two.id)
            assert upstream is not None
            self.assertEqual(upstream.cap, expected)

    def test_fail_open(self) -> None:
        """
        Failing open can be switched off.
        """
        down = msgspec.structs.replace(
            server(1, state=State.DOWN), condition=Condition(was_up=True, answered=True)
        )
        for text, expected in (("", True), ("[health]\nfail_open = false", False)):
            data_path = self.data_path(text)
            data_path.balancer.changed(Change(server(1), down))
            self.assertEqual(data_path.balancer.failing_open, expected)
            self.assertEqual(data_path.balancer.choose() is not None, expected)
            data_path.balancer.stop()

    def test_slow_start(self) -> None:
        """
        Slow start is by the node's clock; a data path that is stopped has no timers.
        """
        data_path = self.data_path("[balance]\nslow_start = 30")
        two = server(2, state=State.PENDING)
        data_path.balancer.changed(Change(None, two))
        up = msgspec.structs.replace(server(2), since=time.time())
        data_path.balancer.changed(Change(two, up))
        found = [data_path.balancer.choose() for _ in range(110)]
        self.assertApproximates(sum(each is not None and each.port == 2 for each in found), 10, 2)
        data_path.balancer.stop()

    def test_key(self) -> None:
        """
        Requests have a key where servers are chosen by hash, and there alone.
        """
        budget = Budget(clients=1, refused=1, servers=1, management=1, checks=1)
        for text, expected in (
            ("", None),
            ("[balance]\nkey = 'path'", None),
            ("[balance]\nmethod = 'hash'\nkey = 'path'", b"/a"),
        ):
            key_of = self.data_path(text).frontend(budget)._context.exchanges.key_of
            key = None if key_of is None else key_of(HEAD, b"")
            self.assertEqual(key, expected)


class InFlightTests(SynchronousTestCase):
    """
    The numbers of attempts under way with a server.
    """

    def test_counts(self) -> None:
        """
        Those with the server of the pool, and those with a removed one.
        """
        path = DataPath(Clock(), Settings(), lambda: b"")
        view = PoolView()
        view.subscribe(path.balancer.changed)
        apply_to(view, register())
        self.assertEqual(path.in_flight(ID), InFlight(0, 0))
        for attempt in range(2):
            upstream = path.balancer.upstream(ID)
            assert upstream is not None
            upstream.begin(attempt)
            self.assertEqual(path.in_flight(ID), InFlight(1, attempt))
            apply_to(view, Deregister(ID, 2.0, "asked to"))
            self.assertEqual(path.in_flight(ID), InFlight(0, attempt + 1))
            apply_to(view, register())
