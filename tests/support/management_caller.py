"""
Calls the management API without a network.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.status import ClusterStatus, MemberStatus
from alacrity.management import Api
from alacrity.management.documents.removals import NodeDrain, Removal
from alacrity.metrics.counters import Counter, Stats
from alacrity.node.descriptors import slack
from alacrity.pool import Command, Outcome, PoolView, Propose, Server
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal
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
        self.advice: str | None = None
        self.members = [Member("a", "10.0.0.1:8688")]
        self.told: list[tuple[str, object]] = []
        self.failures: dict[str, Exception] = {}
        self.format = 2
        self.behind: tuple[str, ...] = ()

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
            advice=self.advice,
        )

    def members_below(self, format: int) -> tuple[str, ...]:
        """The nodes that hold the format up."""
        return self.behind

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


class Drains:
    """
    Nodes that have finished all requests of removed servers, if not told otherwise.

    @ivar nodes: the answer of the nodes.
    @ivar failure: raised to those that wait.
    @ivar never: whether the wait does not end.
    @ivar removals: that the nodes remember.
    @ivar waits: the waits that were begun.
    """

    def __init__(self) -> None:
        self.nodes: Sequence[NodeDrain] = [NodeDrain("a", 0, True)]
        self.failure: Exception | None = None
        self.never: Deferred[None] | None = None
        self.removals: dict[str, Removal] = {}
        self.waits: list[tuple[str, Removal, float]] = []

    def removal(self, id: str) -> Removal | None:
        """As remembered."""
        return self.removals.get(id)

    async def find(self, id: str) -> Removal | None:
        """Likewise."""
        return self.removals.get(id)

    async def wait(self, id: str, removal: Removal, seconds: float) -> Sequence[NodeDrain]:
        """End at once, unless told otherwise."""
        self.waits.append((id, removal, seconds))
        if self.never is not None:
            await self.never
        if self.failure is not None:
            raise self.failure
        return self.nodes


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
        self.drains = Drains()
        self.renewals: dict[str, Renewal | Exception] = {}
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
            drains=self.drains,
            renew=self.renew,
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

    async def renew(self, id: str) -> Renewal:
        """Renew at once, as told; else by the pool."""
        told = self.renewals.get(id)
        if isinstance(told, Exception):
            raise told
        server = self.view.pool.servers.get(id)
        if server is None:
            raise NoSuchServer(id)
        lease = server.options.lease
        if lease is None:
            raise HasNoLease(id)
        return told or Renewal(lease, lease / 3)

    def patch(
        self, document: object, id: str = "10.0.0.7:8080", headers: Mapping[str, str] | None = None
    ) -> Response:
        """
        Administer a server.

        @param document: as in L{post}.
        """
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        fields = {"Content-Type": "application/merge-patch+json", **(headers or {})}
        return self.call("PATCH", f"/servers/{id}", body, fields)

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
