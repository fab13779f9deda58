"""
Tests for L{alacrity.testserver}.
"""

from __future__ import annotations

import contextlib
import json
from io import StringIO
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.client import ApiClient, RegistrationRequest, treq_sender
from alacrity.testserver import Registration, TestServer, arguments


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


class Response:
    """
    Of a management API.
    """

    def __init__(self, code: int, document: object = None) -> None:
        self.code = code
        self._document = document

    def content(self) -> Deferred[bytes]:
        """Its body."""
        return succeed(json.dumps(self._document).encode())


class Management:
    """
    A management API that says what a test tells it to.

    @ivar answers: one a call; an exception is raised.
    @ivar calls: what was called.
    """

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, str]] = []

    def request(self, method: str, url: str, **_: object) -> Deferred[Any]:
        self.calls.append((method, url))
        answer = self.answers.pop(0)
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class RegistrationTests(SynchronousTestCase):
    """
    Registration and deregistration.
    """

    def registration(self, *answers: Response | Exception) -> Registration:
        """
        One with an API that answers so.
        """
        self.said: list[str] = []
        self.api = Management(*answers)
        url = "http://m/"
        client = ApiClient(treq_sender(self.api, url, timeout=3.0))
        return Registration(client, url, RegistrationRequest(port="1"), self.said.append)

    def test_registers_and_deregisters(self) -> None:
        """
        A registered server removes itself when it ends, once.
        """
        registration = self.registration(Response(201, {"id": "a:1"}), Response(204))
        self.successResultOf(Deferred.fromCoroutine(registration.register(Clock())))
        self.successResultOf(Deferred.fromCoroutine(registration.deregister()))
        self.successResultOf(Deferred.fromCoroutine(registration.deregister()))
        self.assertEqual(
            self.api.calls,
            [("POST", "http://m/servers"), ("DELETE", "http://m/servers/a:1")],
        )
        self.assertEqual(self.said, ["registered with http://m as /servers/a:1", "deregistered"])

    def test_tries_again(self) -> None:
        """
        While nobody answers, or it is not our fault, it tries again, and says so once.
        """
        clock = Clock()
        registration = self.registration(
            ConnectionRefusedError("no"), Response(503), Response(200, {"id": "a:1"})
        )
        registering = Deferred.fromCoroutine(registration.register(clock))
        clock.advance(1)
        self.assertNoResult(registering)
        clock.advance(1)
        self.successResultOf(registering)
        self.assertEqual(
            self.said,
            [
                "cannot register with http://m yet: Connection was refused by other side: no.",
                "registered with http://m as /servers/a:1",
            ],
        )

    def test_refused(self) -> None:
        """
        A refusal is the end.
        """
        registration = self.registration(Response(400, {"detail": "port"}))
        refused = self.failureResultOf(
            Deferred.fromCoroutine(registration.register(Clock())), SystemExit
        )
        self.assertEqual(str(refused.value), "registration refused: 400 port")

    def test_cannot_deregister(self) -> None:
        """
        A failure to deregister does not stop the server from ending.
        """
        registration = self.registration(Response(201, {"id": "a:1"}), ConnectionRefusedError("no"))
        self.successResultOf(Deferred.fromCoroutine(registration.register(Clock())))
        self.successResultOf(Deferred.fromCoroutine(registration.deregister()))
        self.assertIn("cannot deregister", self.said[-1])


class ArgumentTests(SynchronousTestCase):
    """
    The command line.
    """

    def test_defaults(self) -> None:
        """
        Nothing has to be given.
        """
        options = arguments([])
        self.assertEqual(
            (options.host, options.port, options.register, options.name),
            ("127.0.0.1", 0, None, None),
        )

    def test_faults(self) -> None:
        """
        A fault says what is allowed.
        """
        for given, allowed in (
            (["--port", "x"], "allowed: a port from 0 to 65535"),
            (["--port", "65536"], "allowed: a port from 0 to 65535"),
            (["--register", "localhost:1"], "allowed: a URL such as http://127.0.0.1:8687"),
        ):
            said = StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit):
                arguments(given)
            self.assertIn(allowed, said.getvalue())
