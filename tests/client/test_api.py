"""
L{alacrity.client.api}: the calls, one by one, and against the API itself.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.client.api import ApiClient
from alacrity.client.documents import (
    Drain,
    HttpCheckRequest,
    NodeContact,
    RegistrationRequest,
    Renewal,
)
from alacrity.client.errors import CallFailed, CallRefused
from alacrity.client.messages import ApiRequest, ApiResponse
from alacrity.cluster.log.members import Member
from alacrity.pool import HttpCheck
from tests.client.fake_api import FakeApi, run
from tests.support.management_caller import ManagementCase

ID = "10.0.0.7:8080"


class RequestTests(SynchronousTestCase):
    """
    Requests that are sent, and the results made of the answers.
    """

    def test_server_ids_are_encoded(self) -> None:
        api = FakeApi(ApiResponse(204, b""))
        self.successResultOf(run(ApiClient(api.send).deregister("a/b?c:1")))
        self.assertEqual(api.requests, [ApiRequest("DELETE", "/servers/a%2Fb%3Fc:1")])

    def test_members_that_are_not_known_are_ignored(self) -> None:
        """
        A node of a later version may answer.
        """
        body = b'{"new": 1, "members": [{"name": "a", "address": "a:1", "role": "learner"}]}'
        cluster = self.successResultOf(
            run(ApiClient(FakeApi(ApiResponse(200, body)).send).show_cluster())
        )
        self.assertEqual(cluster.members, [NodeContact("a", "a:1")])

    def test_renewal(self) -> None:
        api = FakeApi(ApiResponse(200, b'{"lease": 15, "renew_after": 5, "more": 1}'))
        renewal = self.successResultOf(run(ApiClient(api.send).renew(ID)))
        self.assertEqual(renewal, Renewal(15.0, 5.0))
        self.assertEqual(api.requests, [ApiRequest("PUT", f"/servers/{ID}/lease")])

    def test_drain(self) -> None:
        """
        The time that the API may take is known to what sends the request.
        """
        api = FakeApi(ApiResponse(200, b'{"drained": false, "in_flight": 2, "nodes": []}'))
        drain = self.successResultOf(run(ApiClient(api.send).drain(ID, 1.5)))
        self.assertEqual(drain, Drain(drained=False, in_flight=2))
        self.assertEqual(api.requests, [ApiRequest("DELETE", f"/servers/{ID}?wait=1.5", wait=1.5)])

    def test_drain_by_an_earlier_version(self) -> None:
        api = FakeApi(ApiResponse(204, b""))
        self.assertIsNone(self.successResultOf(run(ApiClient(api.send).drain(ID, 1.5))))

    def test_refused(self) -> None:
        api = FakeApi(ApiResponse(409, b'{"title": "Conflict", "detail": "not\\nnow"}'))
        refusal = self.failureResultOf(run(ApiClient(api.send).deregister("a:1")), CallRefused)
        self.assertEqual(str(refusal.value), "409 not now")

    def test_another_server_answers(self) -> None:
        """
        A page with a good status is no success, but may be one later.
        """
        for body in (b"<html>", b"{}", b'{"id": 1}', b"\xff", b""):
            api = FakeApi(ApiResponse(200, body))
            failure = self.failureResultOf(
                run(ApiClient(api.send).register(RegistrationRequest(port="1"))), CallFailed
            )
            self.assertIn("not one of Alacrity's management API", str(failure.value))


class ContractTests(ManagementCase):
    """
    The client against the management API.
    """

    def setUp(self) -> None:
        super().setUp()
        self.client = ApiClient(self.send)

    async def send(self, request: ApiRequest) -> ApiResponse:
        """
        Send a request over a connection in memory.
        """
        headers = {"Content-Type": "application/json"} if request.body else {}
        answer = self.management.call(request.method, request.path, request.body, headers)
        return ApiResponse(answer.status, answer.body)

    def test_servers(self) -> None:
        """
        A server comes and goes.
        """
        registration = RegistrationRequest(
            ip="10.0.0.7", port="8080", check=HttpCheckRequest("/up")
        )
        server = self.successResultOf(run(self.client.register(registration)))
        self.assertEqual(server.id, ID)
        self.assertEqual(
            self.management.view.pool.servers[ID].check, HttpCheck(path="/up", status=(200, 299))
        )
        self.successResultOf(run(self.client.deregister(server.id)))
        self.assertEqual(self.management.view.pool.servers, {})
        refusal = self.failureResultOf(run(self.client.deregister(server.id)), CallRefused)
        self.assertEqual(str(refusal.value), f"404 there is no server '{ID}'")

    def test_servers_without_an_address(self) -> None:
        """
        The caller's is taken.
        """
        server = self.successResultOf(run(self.client.register(RegistrationRequest(port="80"))))
        self.assertEqual(server.id, "10.1.2.3:80")

    def test_cluster(self) -> None:
        """
        A node is added.
        """
        new = NodeContact("b", "10.0.0.2:8688")
        self.successResultOf(run(self.client.add_node(new)))
        self.assertIn(Member("b", "10.0.0.2:8688"), self.management.cluster.members)
        cluster = self.successResultOf(run(self.client.show_cluster()))
        self.assertEqual(cluster.members, [NodeContact("a", "10.0.0.1:8688"), new])
