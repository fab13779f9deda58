"""
Tests for L{alacrity.node.data_path}: what the listeners make of the ends of requests.
"""

from __future__ import annotations

import time
from typing import Final

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.messages import RequestHead
from alacrity.metrics.counters import Stats
from alacrity.node.data_path import access_record, node_listeners
from alacrity.proxy.events import Cause, FailureKind, RequestEnded
from alacrity.runtime.access_log import AccessRecord

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
