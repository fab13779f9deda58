"""
L{alacrity.testserver.resources}: answers on demand.
"""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.testserver.resources import TestServer


class PathTests(SynchronousTestCase):
    """
    The resources.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.treq: Any = StubTreq(TestServer("one", self.clock).app.resource())

    def fetch(self, method: str, path: str, **more: object) -> tuple[int, bytes]:
        """
        Status and body of an answer.
        """
        requested = self.treq.request(method, f"http://x{path}", **more)
        self.treq.flush()
        response = self.successResultOf(requested)
        return response.code, self.successResultOf(response.content())

    def test_root(self) -> None:
        """
        The name, and the request that was received.
        """
        code, body = self.fetch("POST", "/?a=%20", data=b"12345", headers={"X-A": ["1", "2"]})
        document = json.loads(body)
        self.assertEqual((code, document["name"]), (200, "one"))
        self.assertEqual(
            (document["method"], document["target"], document["body_bytes"]), ("POST", "/?a=%20", 5)
        )
        named = [value for name, value in document["headers"] if name == "X-A"]
        self.assertEqual(named, ["1", "2"])

    def test_headers(self) -> None:
        """
        The fields alone.
        """
        _, body = self.fetch("GET", "/headers", headers={"X-A": "1"})
        self.assertIn(["X-A", "1"], json.loads(body))

    def test_echo(self) -> None:
        """
        The body, and what it is said to be.
        """
        self.assertEqual(self.fetch("PUT", "/echo", data=b"\x00\xff"), (200, b"\x00\xff"))
        self.assertEqual(self.fetch("GET", "/echo")[0], 405)

    def test_status(self) -> None:
        """
        Any status of a final response.
        """
        self.assertEqual(self.fetch("GET", "/status/503"), (503, b"503\n"))
        self.assertEqual(self.fetch("GET", "/status/204"), (204, b""))
        self.assertEqual(
            self.fetch("GET", "/status/101"), (400, b"allowed: a status from 200 to 599\n")
        )
        self.assertEqual(self.fetch("GET", "/status/x")[0], 404)

    def test_delay(self) -> None:
        """
        An answer after a while.
        """
        requested = self.treq.get("http://x/delay/1.5")
        self.treq.flush()
        self.assertNoResult(requested)
        self.clock.advance(1.5)
        self.treq.flush()
        self.assertEqual(self.successResultOf(requested).code, 200)
        for wrong in ("-1", "x", "nan", "1e9"):
            self.assertEqual(self.fetch("GET", f"/delay/{wrong}")[0], 400)

    def test_bodies(self) -> None:
        """
        Bodies of any size.
        """
        code, body = self.fetch("GET", "/bytes/200000")
        self.assertEqual((code, len(body)), (200, 200000))
        self.assertEqual(self.fetch("GET", "/bytes/0"), (200, b""))
        code, body = self.fetch("GET", "/stream/3")
        self.assertEqual([json.loads(line)["line"] for line in body.splitlines()], [0, 1, 2])
        self.assertEqual(self.fetch("GET", f"/bytes/{1 << 41}")[0], 400)
        self.assertEqual(self.fetch("GET", f"/stream/{1 << 41}")[0], 400)

    def test_health(self) -> None:
        """
        The server is healthy.
        """
        self.assertEqual(self.fetch("GET", "/health"), (200, b'{"status": "ok"}\n'))
