"""
L{alacrity.client.over_treq}: requests, answers and the lack of one.
"""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import Request

from alacrity.client.errors import CallFailed
from alacrity.client.messages import ApiRequest, ApiResponse
from alacrity.client.over_treq import treq_sender


class _Echo(Resource):
    """
    Answers with the request.
    """

    isLeaf = True

    def render(self, request: Request) -> bytes:
        request.setResponseCode(503)
        fields = [
            request.requestHeaders.getRawHeaders(name, [b"-"])[0]
            for name in (b"authorization", b"content-type")
        ]
        content = request.content
        assert content is not None
        return b" ".join([request.method, request.uri, *fields, content.read()])


class _Pending:
    """
    A client whose requests wait.
    """

    def __init__(self) -> None:
        self.requested: list[Deferred[Any]] = []

    def request(self, method: str, url: str, **_: object) -> Deferred[Any]:
        self.requested.append(Deferred())
        return self.requested[-1]


class AnswerTests(SynchronousTestCase):
    def test_any_status_is_an_answer(self) -> None:
        http: Any = StubTreq(_Echo())
        for token, request, expected in (
            (None, ApiRequest("GET", "/cluster"), b"GET /cluster - - "),
            ("abc", ApiRequest("DELETE", "/servers/a:1"), b"DELETE /servers/a:1 Bearer abc - "),
            (
                "abc",
                ApiRequest("POST", "/servers", b"{}"),
                b"POST /servers Bearer abc application/json {}",
            ),
        ):
            sent: Any = treq_sender(http, "http://m/", timeout=3.0, token=token)(request)
            http.flush()
            self.assertEqual(self.successResultOf(sent), ApiResponse(503, expected))


class NoAnswerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.http = _Pending()
        self.sent: Any = treq_sender(self.http, "http://m", timeout=3.0)(ApiRequest("GET", "/"))

    def fails(self, error: Exception) -> str:
        """
        The message of the failure when the request fails so.
        """
        self.http.requested[0].errback(error)
        return str(self.failureResultOf(self.sent, CallFailed).value)

    def test_not_connected(self) -> None:
        self.assertIn("refused", self.fails(ConnectionRefusedError()))

    def test_reasons_are_found(self) -> None:
        error: Any = ResponseNeverReceived([Failure(ValueError("no HTTP"))])
        self.assertEqual(self.fails(error), "no HTTP")

    def test_errors_without_words_are_named(self) -> None:
        self.assertEqual(self.fails(ValueError()), "ValueError")

    def test_time_limit(self) -> None:
        """
        The time limit, by which treq cancels the request.
        """
        self.http.requested[0].cancel()
        failure = self.failureResultOf(self.sent, CallFailed)
        self.assertEqual(str(failure.value), "no answer in 3 s")

    def test_time_limit_of_a_call_that_waits(self) -> None:
        """
        The time that the API is asked to wait comes on top.
        """
        sent: Any = treq_sender(self.http, "http://m", timeout=3.0)(
            ApiRequest("DELETE", "/", wait=2.0)
        )
        self.http.requested[1].cancel()
        failure = self.failureResultOf(sent, CallFailed)
        self.assertEqual(str(failure.value), "no answer in 5 s")

    def test_time_limit_once_connected(self) -> None:
        error: Any = ResponseNeverReceived([Failure(CancelledError())])
        self.assertEqual(self.fails(error), "no answer in 3 s")

    def test_cancelled(self) -> None:
        """
        The caller's cancelling is no failure of the call.
        """
        self.sent.cancel()
        self.failureResultOf(self.sent, CancelledError)
        self.assertTrue(self.http.requested[0].called)


class _Answering:
    """
    A client whose answers have begun, and whose bodies are yet to come.
    """

    code = 200

    def __init__(self, body: Deferred[bytes]) -> None:
        self._body = body

    def request(self, method: str, url: str, **_: object) -> Deferred[Any]:
        return succeed(self)

    def content(self) -> Deferred[bytes]:
        return self._body


class BodyTests(SynchronousTestCase):
    def test_it_breaks_off(self) -> None:
        """
        Half an answer is none.
        """
        body: Deferred[bytes] = Deferred()
        sent: Any = treq_sender(_Answering(body), "http://m", timeout=3.0)(ApiRequest("GET", "/"))
        self.assertNoResult(sent)
        body.errback(ConnectionRefusedError("gone"))
        self.failureResultOf(sent, CallFailed)
