"""
Calls the management API without a network.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.status import ClusterStatus, MemberStatus
from alacrity.management import Api
from alacrity.metrics.counters import Counter, Stats
from alacrity.node.descriptors import slack
from alacrity.pool import Command, Outcome, PoolView, Propose, Server
from tests.support.pools import apply_to

NOW = 1700000000.25
TOKEN = b"0123456789abcdefghijABCDEF"
CALLER = IPv4Address("TCP", "10.1.2.3", 4567)


class Response(msgspec.Struct, frozen=True):
    """
    An answer.

    @ivar headers: by their names in lower case.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


class Result(msgspec.Struct, frozen=True):
    """
    The outcome of a check.
    """

    passed: bool
    reason: str
    at: float
    duration: float


class Connection:
    """
    A connection to the API.
    """

    def __init__(self, management: Management, peer: IAddress) -> None:
        # A peer of a Unix socket is connected to one.
        host = UNIXAddress("management") if isinstance(peer, UNIXAddress) else None
        self.transport = StringTransport(hostAddress=host, peerAddress=peer)
        self._protocol = management.site.buildProtocol(peer)
        assert self._protocol is not None
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """
        Send bytes, as they are.
        """
        if not self.transport.disconnecting:
            self._protocol.dataReceived(data)

    def lose(self) -> None:
        """
        The client goes away.
        """
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def received(self) -> bytes:
        """
        Take the answers that came since the last time.
        """
        data: bytes = self.transport.value()
        self.transport.clear()
        return data


class Cluster:
    """
    A cluster of one, that does what it is told.

    @ivar members: with an empty address for this node, it stands alone.
    @ivar told: what it was told.
    @ivar failures: with what it fails, by what it is told.
    """

    def __init__(self) -> None:
        self.is_leader = True
        self.stale = False
        self.members = [Member("a", "10.0.0.1:8688")]
        self.told: list[tuple[str, object]] = []
        self.failures: dict[str, Exception] = {}

    def status(self) -> ClusterStatus:
        """The status of the cluster."""
        return ClusterStatus(
            name="a",
            members=tuple(
                MemberStatus(each.name, each.address, "leader", None, 7, 0)
                if each.name == "a"
                else MemberStatus(each.name, each.address, "follower", 0.0123456, 5, 2)
                for each in self.members
            ),
            role="leader",
            leader="a",
            term=3,
            commit_index=7,
            applied_index=6,
            has_quorum=not self.stale,
            suspended=None,
            stale=self.stale,
        )

    def _do(self, what: str, argument: object = None) -> None:
        if what in self.failures:
            raise self.failures[what]
        self.told.append((what, argument))

    async def barrier(self) -> None:
        """Confirm at once."""
        self._do("barrier")

    async def add_node(self, name: str, address: str) -> None:
        """Add a member at once."""
        member = Member(name, address)
        self._do("add", member)
        if member not in self.members:
            self.members.append(member)

    async def remove_member(self, name: str) -> None:
        """Remove a member at once."""
        self._do("remove", name)
        self.members = [each for each in self.members if each.name != name]

    def hand_over(self, target: str | None = None) -> None:
        """Note the call."""
        self._do("hand over", target)


class Management:
    """
    The API of a node that has all that it needs, and lets itself be looked at.
    """

    def __init__(
        self,
        propose: Propose | None = None,
        *,
        token: bytes | None = None,
        hosts: Collection[str] = (),
        connections: int = 256,
        reactor: IReactorTime | None = None,
    ) -> None:
        self.clock = Clock()
        self.view = PoolView()
        self.cluster = Cluster()
        self.stats = Stats()
        self.counters: dict[str, Counter] = {}
        self.draining: list[Server] = []
        self.results: dict[str, Result] = {}
        self.serving = True
        self.own: dict[tuple[str, int], str] = {}
        self.api = Api(
            view=self.view,
            propose=self.propose if propose is None else propose,
            stats=self.stats,
            counters=self.counters.get,
            draining=lambda: self.draining,
            last_checks=self.results.get,
            unfit=lambda: None if self.serving else "it is stopping",
            wall=lambda: NOW,
            cluster=self.cluster,
            add_node=self.cluster.add_node,
            own_listener=lambda ip, port: self.own.get((ip, port)),
            clock=self.clock if reactor is None else reactor,
            token=token,
            hosts=hosts,
            default_interval=5.0,
        )
        self.site = self.api.site(connections=connections, surplus=slack(connections))

    async def propose(self, command: Command) -> Outcome:
        """Agreed at once."""
        return apply_to(self.view, command)

    def connect(self, peer: IAddress = CALLER) -> Connection:
        """
        Open a connection.
        """
        return Connection(self, peer)

    def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        peer: IAddress = CALLER,
        token: bytes | None = None,
    ) -> Response:
        """
        Make a call and have its answer.
        """
        if token is not None:
            headers = {**(headers or {}), "Authorization": f"Bearer {token.decode()}"}
        connection = self.connect(peer)
        connection.send(request(method, path, body, headers))
        return response(connection.received(), method)

    def post(
        self, document: object, peer: IAddress = CALLER, *, path: str = "/servers"
    ) -> Response:
        """
        Send a document; register, if not told otherwise.

        @param document: as JSON, or what is to be made JSON.
        """
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.call("POST", path, body, {"Content-Type": "application/json"}, peer)


def request(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """
    A request as it is sent.
    """
    fields = {"Host": "localhost:8687", **(headers or {})}
    if body:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def response(data: bytes, method: str = "GET") -> Response:
    """
    Read exactly one whole answer.
    """
    head, found, body = data.partition(b"\r\n\r\n")
    assert found, data
    status, *lines = head.decode("ascii").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name.lower() not in headers, f"{name} twice"
        headers[name.lower()] = value
    if method == "HEAD":
        assert body == b"", body
    else:
        assert len(body) == int(headers.get("content-length", 0)), data
    return Response(int(status.split(" ")[1]), headers, body)


class ManagementCase(SynchronousTestCase):
    """
    A case with a L{Management}.
    """

    def setUp(self) -> None:
        """
        An API with an empty pool.
        """
        self.management = Management()

    def assertProblem(self, answer: Response, status: int, field: str | None = None) -> str:
        """
        The answer must be a proper problem document.

        @return: its detail.
        """
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertNotIn("server", answer.headers)
        self.assertTrue(answer.body.endswith(b"}\n") and answer.body.isascii(), answer.body)
        document = answer.document
        self.assertEqual(document["type"], "about:blank")
        self.assertEqual(document["status"], status)
        self.assertTrue(document["title"])
        self.assertEqual(document.get("field"), field, document)
        detail = document["detail"]
        assert isinstance(detail, str)
        self.assertLess(len(detail), 500)
        return detail
