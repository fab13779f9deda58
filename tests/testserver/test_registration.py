"""
L{alacrity.testserver.registration}: the way into a pool, and out of it.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.client import ApiClient, RegistrationRequest, treq_sender
from alacrity.testserver.registration import Registration


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
