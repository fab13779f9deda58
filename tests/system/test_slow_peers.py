"""
Many slow clients at once, on a real node: the others are served, and memory is bounded.
"""

from __future__ import annotations

import resource
import time
from typing import Final

from acceptance.lab.waiting import wait_until
from tests.support.nodes import NodeTestCase
from tests.support.recorder import RawClient

HEADS: Final = 400
BODIES: Final = 300
READERS: Final = 300

CONFIGURATION: Final = """
[health]
interval = 86400.0
[timeouts]
client_header = 60.0
"""

IDLE: Final = 32
"""Unused connections to the server that are kept."""

WANTED: Final = 1 << 24
"""Bytes that each of the slow readers asks for, and that each slow body has."""

SHARE: Final = (64 + 256) * 1024
"""
The most that may wait in the proxy for one peer: what fills the transport's buffer, and
one more piece, as large as uvloop reads them.
"""


class SlowPeersTests(NodeTestCase):
    """
    A thousand connections that take their time.
    """

    def setUp(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 4096), limits[1]))
        self.proxy = self.node(configuration=CONFIGURATION)
        self.proxy.register(self.server().port)

    def slowest(self) -> float:
        """
        The seconds that the slowest of some requests takes.
        """
        client = RawClient(self.proxy.proxy)
        self.addCleanup(client.close)
        slowest = 0.0
        for _ in range(200):
            began = time.monotonic()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"HTTP/1.1 200 OK\r\n", client.response())
            slowest = max(slowest, time.monotonic() - began)
        return slowest

    def test_slow_peers(self) -> None:
        """
        While a thousand clients send slow heads, send slow bodies or read slowly,
        others are answered in time, and the node grows by no more than its share for
        each.
        """
        self.slowest()
        before, files = self.proxy.resident_bytes(), self.proxy.descriptors()
        kinds = {
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30000: HEADS,
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % WANTED
            + b"x" * 30000: BODIES,
            b"GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\n" % WANTED: READERS,
        }
        clients = []
        for sent, number in kinds.items():
            for _ in range(number):
                client = RawClient(self.proxy.proxy)
                self.addCleanup(client.close)
                clients.append(client)
                client.send(sent)
        for client in clients[HEADS + BODIES :]:
            client.until(b"\r\n\r\n")
        wait_until(
            lambda: self.proxy.descriptors() >= len(clients) + BODIES + READERS, "all are connected"
        )
        slowest = self.slowest()
        grown = self.proxy.resident_bytes() - before
        self.assertLess(slowest, 2.0)
        self.assertLess(grown, (HEADS + BODIES + READERS) * SHARE)
        for client in clients:
            client.close()
        wait_until(lambda: self.proxy.descriptors() <= files + IDLE, "all are gone")
        self.assertLess(self.slowest(), 2.0)
