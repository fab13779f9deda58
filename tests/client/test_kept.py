"""
L{alacrity.client.kept}: a registration that is renewed, made again and removed.
"""

from __future__ import annotations

import json
from random import Random

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.client import (
    ApiClient,
    CallFailed,
    CallRefused,
    KeptRegistration,
    NoCheckRequest,
    NodeApi,
    RegistrationRequest,
    Removal,
    SeveralApis,
)
from alacrity.client.kept import RegistrationPhase
from alacrity.client.messages import ApiRequest, ApiResponse

ID = "10.0.0.7:80"
CREATED = ApiResponse(201, json.dumps({"id": ID, "lease": 15.0}).encode())
RENEWED = ApiResponse(200, b'{"lease": 15.0, "renew_after": 5.0}')
ABSENT = ApiResponse(404, b'{"detail": "there is no server"}')
DRAINED = ApiResponse(200, b'{"drained": true, "in_flight": 0}')
UNKNOWN_MEMBER = ApiResponse(400, b'{"detail": "lease is not known", "field": "lease"}')
FORMAT_1 = ApiResponse(409, b'{"detail": "node b speaks format 1", "nodes": ["b"]}')
LEASED = RegistrationRequest(port="80", lease=15.0)


class Late(Random):
    """No chance."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Waiting:
    """
    An API whose answers a test gives when it likes.

    @ivar calls: method and path of the calls so far.
    @ivar bodies: their bodies.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bodies: list[bytes] = []
        self._pending: list[Deferred[ApiResponse]] = []

    def send(self, request: ApiRequest) -> Deferred[ApiResponse]:
        self.calls.append(f"{request.method} {request.path}")
        self.bodies.append(request.body)
        self._pending.append(Deferred())
        return self._pending[-1]

    def answer(self, answer: ApiResponse | Exception) -> None:
        """Answer the oldest call."""
        pending = self._pending.pop(0)
        if isinstance(answer, Exception):
            pending.errback(answer)
        else:
            pending.callback(answer)


class KeptTests(SynchronousTestCase):
    def keep(self, document: RegistrationRequest = LEASED) -> None:
        """Begin a registration."""
        self.clock = Clock()
        self.api = Waiting()
        self.said: list[str] = []
        self.kept = KeptRegistration(
            SeveralApis([NodeApi("http://m", ApiClient(self.api.send))]),
            document,
            self.clock,
            Late(),
            self.said.append,
        )
        self.ended = self.kept.keep()

    def registered(self) -> None:
        """Begin one that succeeds."""
        self.keep()
        self.api.answer(CREATED)
        self.assertIs(self.kept.phase, RegistrationPhase.REGISTERED)

    def test_renewed(self) -> None:
        """
        A third of the lease after the registration, then as the API says.
        """
        self.registered()
        self.clock.advance(4.9)
        self.assertEqual(self.api.calls, ["POST /servers"])
        self.clock.advance(0.1)
        self.assertEqual(self.api.calls[1:], [f"PUT /servers/{ID}/lease"])
        self.api.answer(ApiResponse(200, b'{"lease": 60.0, "renew_after": 20.0}'))
        self.clock.advance(19.9)
        self.assertEqual(len(self.api.calls), 2)
        self.clock.advance(0.1)
        self.assertEqual(len(self.api.calls), 3)

    def test_renewed_as_the_registration_says(self) -> None:
        self.keep()
        document = {"id": ID, "lease": 60.0, "renew_after": 20.0}
        self.api.answer(ApiResponse(201, json.dumps(document).encode()))
        self.assertIn("with a lease of 60 s", self.said[-1])
        self.clock.advance(19.9)
        self.assertEqual(len(self.api.calls), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.api.calls), 2)

    def test_said_once(self) -> None:
        self.registered()
        for _ in range(3):
            self.clock.advance(5)
            self.api.answer(RENEWED)
        self.assertEqual(self.said, [f"{ID} is registered with http://m, with a lease of 15 s"])

    def test_jitter(self) -> None:
        """
        Many servers that register at a time do not renew at a time.
        """
        self.keep()
        self.kept._random = Random(1)
        self.api.answer(CREATED)
        (call,) = self.clock.getDelayedCalls()
        self.assertTrue(4.5 <= call.getTime() < 5)

    def test_lost(self) -> None:
        """
        A registration that is gone is made again at once.
        """
        self.registered()
        self.clock.advance(5)
        self.api.answer(ABSENT)
        self.assertIs(self.kept.phase, RegistrationPhase.REGISTERING)
        self.clock.advance(0)
        self.assertEqual(self.api.calls[-1], "POST /servers")
        self.api.answer(CREATED)
        self.assertIs(self.kept.phase, RegistrationPhase.REGISTERED)
        self.assertEqual(len(self.said), 3)

    def test_paused(self) -> None:
        """
        After a pause of this process the lease is renewed at once.
        """
        self.registered()
        self.clock.advance(3600)
        self.assertEqual(len(self.api.calls), 2)

    def test_failures(self) -> None:
        """
        It is tried again sooner than it would be renewed, less and less often, and said once.
        """
        self.registered()
        self.clock.advance(5)
        for pause in (0.5, 1, 2, 4, 5, 5):
            self.api.answer(CallFailed("refused"))
            made = len(self.api.calls)
            self.clock.advance(pause - 0.01)
            self.assertEqual(len(self.api.calls), made)
            self.clock.advance(0.01)
            self.assertEqual(len(self.api.calls), made + 1)
        self.api.answer(RENEWED)
        self.assertEqual(len(self.said), 3)
        self.assertIn("cannot renew the registration yet", self.said[1])

    def test_refused_at_first(self) -> None:
        self.keep()
        self.api.answer(ApiResponse(401, b"token"))
        self.failureResultOf(self.ended, CallRefused)
        self.assertIs(self.kept.phase, RegistrationPhase.REFUSED)

    def test_refused_later(self) -> None:
        """
        A server that is registered is not ended because a token has changed.
        """
        self.registered()
        self.clock.advance(5)
        self.api.answer(ApiResponse(401, b"token"))
        self.assertNoResult(self.ended)
        self.clock.advance(5)
        self.assertEqual(len(self.api.calls), 3)

    def test_earlier_versions(self) -> None:
        """
        A cluster that does not know leases registers the server without one; later it is tried
        again with it.
        """
        for answer in (UNKNOWN_MEMBER, FORMAT_1):
            self.keep(RegistrationRequest(port="80", lease=15.0, priority=1, weight=3))
            self.api.answer(answer)
            self.assertEqual(msgspec.json.decode(self.api.bodies[-1]), {"port": "80", "weight": 3})
            self.api.answer(ApiResponse(201, json.dumps({"id": ID}).encode()))
            self.assertIn("without its lease or other newer options for now", self.said[-1])
            self.clock.advance(30)
            self.assertEqual(msgspec.json.decode(self.api.bodies[-1])["lease"], 15.0)
            self.api.answer(CREATED)
            self.assertIn("with a lease of 15 s", self.said[-1])
            self.clock.advance(5)
            self.assertEqual(self.api.calls[-1], f"PUT /servers/{ID}/lease")

    def test_earlier_versions_and_no_check(self) -> None:
        """
        A server that needs its lease waits until the cluster knows leases.
        """
        self.keep(RegistrationRequest(port="80", lease=15.0, check=NoCheckRequest()))
        self.api.answer(FORMAT_1)
        self.clock.advance(0.5)
        self.api.answer(CREATED)
        self.assertIs(self.kept.phase, RegistrationPhase.REGISTERED)

    def test_conflict(self) -> None:
        """
        A refusal that has other reasons is one without the lease, too.
        """
        self.keep()
        self.api.answer(FORMAT_1)
        self.api.answer(ApiResponse(409, b'{"detail": "taken", "field": "ip"}'))
        self.failureResultOf(self.ended, CallRefused)
        self.keep()
        self.api.answer(ApiResponse(409, b'{"detail": "this node itself", "field": "port"}'))
        self.failureResultOf(self.ended, CallRefused)
        self.assertEqual(len(self.api.calls), 1)

    def test_removed(self) -> None:
        self.registered()
        removing = self.kept.remove(8)
        self.successResultOf(self.ended)
        self.assertIs(self.kept.phase, RegistrationPhase.REMOVING)
        self.assertEqual(self.api.calls[-1], f"DELETE /servers/{ID}?wait=2")
        self.api.answer(DRAINED)
        self.assertIs(self.successResultOf(removing), Removal.DRAINED)
        self.assertIs(self.kept.phase, RegistrationPhase.REMOVED)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.kept.remove(0)
        self.assertEqual(len(self.api.calls), 2, "nothing is left to remove")

    def test_removed_while_it_registers(self) -> None:
        """
        The removal waits for the registration, which would undo it otherwise.
        """
        self.keep()
        removing = self.kept.remove(8)
        self.assertEqual(self.api.calls, ["POST /servers"])
        self.clock.advance(1)
        self.api.answer(CREATED)
        self.assertEqual(self.api.calls[-1], f"DELETE /servers/{ID}?wait=2")
        self.api.answer(DRAINED)
        self.assertIs(self.successResultOf(removing), Removal.DRAINED)

    def test_removed_while_nobody_answers(self) -> None:
        """
        A registration that is not answered is given up, and there is nothing to remove.
        """
        self.keep()
        removing = self.kept.remove(8)
        self.clock.advance(2)
        self.assertIs(self.successResultOf(removing), Removal.ABSENT)
        self.failureResultOf(self.ended, CancelledError)

    def test_removed_before_it_registers(self) -> None:
        self.keep()
        self.api.answer(CallFailed("refused"))
        self.assertIs(self.successResultOf(self.kept.remove(8)), Removal.ABSENT)
        self.successResultOf(self.ended)

    def test_cut_short(self) -> None:
        """
        A second removal takes the place of one that waits.
        """
        self.registered()
        first = self.kept.remove(8)
        second = self.kept.remove(0)
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.api.calls[-1], f"DELETE /servers/{ID}")
        self.api.answer(DRAINED)
        self.api.answer(ApiResponse(204, b""))
        self.assertIs(self.successResultOf(second), Removal.DRAINED)

    def test_repr(self) -> None:
        self.registered()
        self.assertEqual(repr(self.kept), f"<KeptRegistration {ID} registered>")
