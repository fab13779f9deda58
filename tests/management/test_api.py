"""
L{alacrity.management.api}: what holds for all calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.pool import Command, Outcome
from tests.management.example import ID, SERVER
from tests.support.management_caller import (
    Management,
    ManagementCase,
    Response,
    request,
    response,
)
from tests.support.places import ROOT

reactor: Any = _reactor


ALLOW = {
    "/servers": "GET, HEAD, OPTIONS, POST",
    f"/servers/{ID}": "DELETE, GET, HEAD, OPTIONS, PATCH",
    "/stats": "GET, HEAD, OPTIONS",
    "/stats/detail": "GET, HEAD, OPTIONS",
    "/health": "GET, HEAD, OPTIONS",
    "/health/leader": "GET, HEAD, OPTIONS",
    "/cluster": "GET, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
}

ALLOW_NO_GET = {
    "/cluster/nodes": "OPTIONS, POST",
    "/cluster/nodes/a": "DELETE, OPTIONS",
    "/cluster/leader": "OPTIONS, POST",
    f"/servers/{ID}/lease": "OPTIONS, PUT",
}


class HttpTests(ManagementCase):
    """
    Behaviour that all calls share.
    """

    def test_methods(self) -> None:
        """
        A method that is not offered is 405, with those that are. C{OPTIONS} asks for these alone.
        """
        self.management.post(SERVER)
        pool = self.management.view.pool
        for path, allow in (ALLOW | ALLOW_NO_GET).items():
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
                if method in allow:
                    continue
                answer = self.management.call(method, path, b"{}")
                self.assertProblem(answer, 405)
                self.assertEqual(answer.headers["allow"], allow)
            answer = self.management.call("OPTIONS", path)
            self.assertEqual((answer.status, answer.headers["allow"]), (204, allow))
            self.assertEqual(answer.body, b"")
        self.assertIs(self.management.view.pool, pool)

    def test_head(self) -> None:
        """
        C{HEAD} is C{GET} without the body.
        """
        self.management.post(SERVER)
        for path in ALLOW:
            whole = self.management.call("GET", path)
            head = self.management.call("HEAD", path)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["content-length"], str(len(whole.body)))

    def test_unknown_paths(self) -> None:
        """
        They are 404.
        """
        for path in (
            "/",
            "/server",
            "/servers/",
            "/servers/a/b",
            "/stats/x",
            "/%2e%2e",
            "/Servers",
        ):
            self.assertProblem(self.management.call("GET", path), 404)

    def test_path_not_utf8(self) -> None:
        """
        A path that is no text is refused.
        """
        for path in ("/%ff", "/servers/%c3"):
            self.assertProblem(self.management.call("GET", path), 400)

    def test_query(self) -> None:
        """
        A query changes nothing.
        """
        self.assertEqual(self.management.call("GET", "/servers?a=%ff&b&=;").status, 200)

    def test_host(self) -> None:
        """
        Nor does a C{Host} that makes no sense.
        """
        for host in ("x" * 100, "a..b", "[", "a,b", "\xff", "<script>"):
            answer = self.management.call("GET", "/servers", headers={"Host": host})
            self.assertProblem(answer, 421)

    def test_keep_alive(self) -> None:
        """
        A connection serves one call after the other, also after a refused one.
        """
        connection = self.management.connect()
        for path, status in (("/servers", 200), ("/nothing", 404), ("/health", 200)):
            connection.send(request("GET", path))
            self.assertEqual(response(connection.received()).status, status)

    def test_garbage(self) -> None:
        """
        Bytes that are not HTTP are answered with a 400 that tells nothing, and closed.
        """
        for data in (
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9x y\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"POST /servers HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST /servers HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /servers HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 10_000 + b"\r\n") * 2 + b"\r\n",
        ):
            connection = self.management.connect()
            connection.send(data)
            received = connection.received()
            self.assertTrue(received.startswith(b"HTTP/1.1 400 "), (data[:40], received))
            self.assertNotIn(b"Traceback", received)
            self.assertNotIn(b"Twisted", received)
            self.assertTrue(connection.transport.disconnecting, data[:40])

    def test_site_keeps_nothing_running(self) -> None:
        """
        The site starts no timers of its own.
        """
        self.management.site.doStart()
        self.management.call("GET", "/health")
        self.management.site.doStop()
        calls = [call for call in self.management.clock.getDelayedCalls() if call.active()]
        self.assertLessEqual(len(calls), 1)  # The idle timeout of the connection.


class FaultTests(ManagementCase):
    """
    Calls that fail through no fault of the caller.
    """

    def changes(self, error: Exception) -> list[Response]:
        """
        The answers to the changes of a pool that cannot be changed.
        """

        async def propose(_command: Command) -> Outcome:
            raise error

        management = Management(propose)
        return [management.post(SERVER), management.call("DELETE", f"/servers/{ID}")]

    def test_refused(self) -> None:
        """
        503 where nothing was changed, with when to repeat it.
        """
        for answer in self.changes(ProposalRefused("there is no leader")):
            detail = self.assertProblem(answer, 503)
            self.assertEqual(
                detail, "nothing was changed, and repeating the call is safe: there is no leader"
            )
            self.assertEqual(answer.headers["retry-after"], "1")

    def test_outcome_unknown(self) -> None:
        """
        504 where it may have been; a repeat is safe.
        """
        for answer in self.changes(OutcomeUnknown("not heard of")):
            detail = self.assertProblem(answer, 504)
            self.assertEqual(
                detail, "it is not known whether the change was made; repeating the call is safe"
            )

    def test_incident(self) -> None:
        """
        500 with an id; the traceback is in the log under that id.
        """

        async def propose(_command: Command) -> Outcome:
            raise RuntimeError("a secret")

        management = Management(propose)
        with capturedLogs() as logged:
            answer = management.post(SERVER)
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertNotIn(b"secret", answer.body)
        self.assertNotIn(b"Traceback", answer.body)
        [event] = logged
        self.assertEqual(event["incident"], answer.document["incident"])
        self.assertIn(event["incident"], answer.document["detail"])
        [failure] = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(str(failure.value), "a secret")
        self.assertEqual(management.call("GET", "/servers").status, 200)

    def test_broken_resource(self) -> None:
        """
        Also when it is what is below the API that breaks.
        """
        management = Management()

        def broken(_request: object) -> bytes:
            raise RuntimeError("a secret")

        management.site.resource.render = broken
        answer = management.call("GET", "/servers")
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertNotIn("server", answer.headers)
        self.assertTrue(answer.document["incident"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_answer_waits(self) -> None:
        """
        The answer comes when the change is kept.
        """
        decided: Deferred[None] = Deferred()
        management = Management()

        async def propose(command: Command) -> Outcome:
            await decided
            return await management.propose(command)

        slow = Management(propose)
        connection = slow.connect()
        body = json.dumps(SERVER).encode()
        connection.send(request("POST", "/servers", body, {"Content-Type": "application/json"}))
        self.assertEqual(connection.received(), b"")
        decided.callback(None)
        self.assertEqual(response(connection.received()).status, 201)

    def test_client_goes_away(self) -> None:
        """
        A client that does not wait for its answer is nobody's trouble.
        """
        decided: Deferred[Outcome] = Deferred()

        async def propose(_command: Command) -> Outcome:
            return await decided

        management = Management(propose)
        connection = management.connect()
        connection.send(request("DELETE", f"/servers/{ID}"))
        with capturedLogs() as logged:
            connection.lose()
        self.assertEqual(logged, [])


class ImportTests(SynchronousTestCase):
    """
    Effects of importing the package.
    """

    def test_no_reactor(self) -> None:
        """
        The choice of the reactor stays open.
        """
        code = (
            "import sys, alacrity.management, alacrity.cluster.log.takeover;"
            "sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        root = ROOT
        finished = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
        self.assertEqual(finished.returncode, 0)


class _Collect(Protocol):
    """
    Collects what comes until the connection ends.
    """

    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Some came."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No more will come."""
        self.ended.callback(self.data)


class SocketTests(TestCase):
    """
    The API over real sockets.
    """

    @inlineCallbacks
    def setUp(self) -> Any:  # type: ignore[override]
        """
        Listen.
        """
        self.management = Management(reactor=reactor)
        site = self.management.site
        self.port = yield TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
        self.addCleanup(self.port.stopListening)

    @inlineCallbacks
    def exchange(self, data: bytes) -> Any:
        """
        Send, and have all that comes until the connection ends.
        """
        client = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        protocol = yield connectProtocol(client, _Collect())
        protocol.transport.write(data)
        received = yield protocol.ended
        return received

    @inlineCallbacks
    def test_large_body(self) -> Any:
        """
        A client that sends 10 MB, heedless, gets its answer.
        """
        headers = {"Content-Type": "application/json", "Connection": "close"}
        received = yield self.exchange(request("POST", "/servers", b" " * 10_000_000, headers))
        self.assertEqual(response(received).status, 413)
        self.assertEqual(self.management.view.pool.index, 0)
        yield self._still_up()

    @inlineCallbacks
    def test_garbage(self) -> Any:
        """
        A client that speaks something else is shown the door.
        """
        received = yield self.exchange(b"\x16\x03\x01\x02\x00\x01\x00\r\n" * 100)
        self.assertTrue(received.startswith(b"HTTP/1.1 400 "), received)
        self.assertNotIn(b"Twisted", received)
        yield self._still_up()

    @inlineCallbacks
    def test_register(self) -> Any:
        """
        A caller that gives no address is registered with the one it calls from.
        """
        headers = {"Content-Type": "application/json", "Connection": "close"}
        received = yield self.exchange(request("POST", "/servers", b'{"port": 80}', headers))
        answer = response(received)
        self.assertEqual((answer.status, answer.document["id"]), (201, "127.0.0.1:80"))

    @inlineCallbacks
    def _still_up(self) -> Any:
        received = yield self.exchange(request("GET", "/health", headers={"Connection": "close"}))
        self.assertEqual(response(received).status, 200)
