"""
L{alacrity.client.removal}: removals that wait for requests in flight.
"""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.client import ApiClient, CallFailed, NodeApi, Removal, Remover, SeveralApis
from alacrity.client.messages import ApiRequest, ApiResponse
from tests.client.fake_api import FakeApi

ID = "10.0.0.7:80"
GONE = ApiResponse(204, b"")
ABSENT = ApiResponse(404, b'{"detail": "there is no server"}')
SHOWN = ApiResponse(200, b'{"id": "10.0.0.7:80"}')
UNABLE = ApiResponse(409, b'{"detail": "node b cannot", "nodes": ["b"]}')


def drain(in_flight: int) -> ApiResponse:
    """An answer that so many requests are in flight."""
    document = {"drained": in_flight == 0, "in_flight": in_flight, "nodes": []}
    return ApiResponse(200, json.dumps(document).encode())


class RemovalTests(SynchronousTestCase):
    def remove(
        self, wait: float, *answers: ApiResponse | Exception, hung: bool = False
    ) -> Deferred[Removal]:
        """
        Begin a removal with an API that answers so.

        @param hung: whether the API does not answer at all.
        """
        self.clock = Clock()
        self.said: list[str] = []
        self.fake = FakeApi(*answers)

        def never(request: ApiRequest) -> Deferred[ApiResponse]:
            return Deferred()

        client = ApiClient(never if hung else self.fake.send)
        self.remover = Remover(
            SeveralApis([NodeApi("http://m", client)]), ID, self.clock, self.said.append
        )
        return Deferred.fromCoroutine(self.remover.remove(wait))

    def passed(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.pump([0.05] * round(seconds / 0.05))

    def asked(self) -> list[tuple[str, str]]:
        """The requests so far."""
        return [(each.method, each.path) for each in self.fake.requests]

    def test_plain(self) -> None:
        removing = self.remove(0, GONE)
        self.assertIs(self.successResultOf(removing), Removal.DRAINED)
        self.assertEqual(self.asked(), [("DELETE", f"/servers/{ID}")])

    def test_drained(self) -> None:
        """
        One call waits for a part of the time, and is repeated until nothing is in flight.
        """
        removing = self.remove(8, drain(2), drain(1), drain(0))
        self.assertNoResult(removing)
        self.passed(1)
        self.assertIs(self.successResultOf(removing), Removal.DRAINED)
        self.assertEqual(self.asked()[0], ("DELETE", f"/servers/{ID}?wait=2"))
        self.assertEqual(len(self.asked()), 3)

    def test_not_drained_in_time(self) -> None:
        removing = self.remove(1, *[drain(1)] * 10)
        self.passed(0.7)
        self.assertNoResult(removing)
        self.passed(0.4)
        self.assertIs(self.successResultOf(removing), Removal.NOT_DRAINED)

    def test_absent(self) -> None:
        removing = self.remove(8, ABSENT)
        self.assertIs(self.successResultOf(removing), Removal.ABSENT)

    def test_refused(self) -> None:
        removing = self.remove(8, ApiResponse(401, b"token"))
        self.assertIs(self.successResultOf(removing), Removal.REFUSED)
        assert self.remover.refusal is not None
        self.assertEqual(self.remover.refusal.status, 401)
        self.assertEqual(self.said, [f"cannot remove {ID}: 401 token"])

    def test_unreachable(self) -> None:
        """
        It is tried for three seconds of the eight, and said once that it fails, and in the end.
        """
        removing = self.remove(8, *[CallFailed("refused")] * 20)
        self.passed(2.5)
        self.assertNoResult(removing)
        self.passed(0.6)
        self.assertIs(self.successResultOf(removing), Removal.UNREACHABLE)
        self.assertEqual(len(self.said), 2)

    def test_no_quorum_for_a_moment(self) -> None:
        removing = self.remove(8, ApiResponse(503, b"no leader"), drain(0))
        self.passed(0.5)
        self.assertIs(self.successResultOf(removing), Removal.DRAINED)

    def test_hung(self) -> None:
        """
        An API that never answers does not hold it up for longer than it may wait.
        """
        removing = self.remove(4, hung=True)
        self.passed(3.9)
        self.assertNoResult(removing)
        self.passed(0.2)
        self.assertIs(self.successResultOf(removing), Removal.UNREACHABLE)

    def test_lost_after_the_removal(self) -> None:
        """
        Once it is removed, an API that fails is asked on.
        """
        removing = self.remove(6, drain(1), *[CallFailed("gone")] * 15, drain(0))
        self.passed(5)
        self.assertIs(self.successResultOf(removing), Removal.DRAINED)

    def test_an_earlier_version_does_not_wait(self) -> None:
        """
        It ignores that it is to wait; then the server is looked at until it is gone.
        """
        for first in ([GONE], [UNABLE, GONE]):
            removing = self.remove(8, *first, SHOWN, SHOWN, ABSENT)
            self.passed(0.9)
            self.assertNoResult(removing)
            self.passed(1.0)
            self.assertIs(self.successResultOf(removing), Removal.DRAINED)
            self.assertIn("only for requests of one node", self.said[0])

    def test_an_earlier_version_and_long_requests(self) -> None:
        removing = self.remove(2, GONE, *[SHOWN] * 10)
        self.passed(2.1)
        self.assertIs(self.successResultOf(removing), Removal.NOT_DRAINED)
