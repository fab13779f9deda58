"""
Nodes and strangers on a network in memory, for tests of the wire.
"""

from __future__ import annotations

from random import Random
from typing import Any

from pysyncobj.node import Node
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.admission import PeerAdmission
from alacrity.cluster.wire.greeting import Greeting
from alacrity.cluster.wire.handshake import Identity
from alacrity.cluster.wire.introductions import Manners
from alacrity.cluster.wire.link import Link
from alacrity.cluster.wire.openings import VERSIONS, Versions
from alacrity.cluster.wire.transport import PeerTransport
from tests.support.fake_files import FakeFiles
from tests.support.fake_network import FakeNetwork

SECRET = b"s" * 32

PORT = 8688


class Peer:
    """
    A node: its transport, and the events that the replica is told.

    @ivar strangers: names of nodes that it does not know.
    @ivar addresses: whether it knows the addresses of the others.
    @ivar versions: of the protocol that it speaks.
    @ivar greeting: what it says about its cluster.
    """

    def __init__(
        self,
        network: FakeNetwork,
        name: str,
        others: str = "",
        secret: bytes = SECRET,
        host: str = "",
        incarnation: str = "",
        strangers: str = "",
        secrets: tuple[bytes, ...] = (),
        versions: Versions = VERSIONS,
    ) -> None:
        self.network = network
        self.name = name
        self.host = host or name
        self.told: list[Any] = []
        self.strangers = set(strangers)
        self.addresses = True
        self.versions = versions
        self.storage = Storage.open(FakeFiles())
        self.greeting = Greeting(name)
        admission = PeerAdmission(
            lambda n: (
                None if n in self.strangers else Member(n, f"{n}:{PORT}" if self.addresses else "")
            ),
            self.storage,
            own=lambda: self.greeting,
        )
        self.transport = PeerTransport(
            Member(name, f"{self.host}:{PORT}"),
            lambda: Identity(name, incarnation or self.storage.incarnation),
            secrets or (secret,),
            admission,
            [network.server(self.host, PORT)],
            network.connector(self.host),
            network.clock,
            Random(name),
            Random(f"{name} {id(self)}").randbytes,
            lambda: self.versions,
            manners=Manners(lambda: self.greeting, admission.greeted),
        )
        tell = self.told.append
        self.transport.setOnMessageReceivedCallback(lambda node, m: tell((node.id, m)))
        self.transport.setOnNodeConnectedCallback(lambda node: tell(("+", node.id)))
        self.transport.setOnNodeDisconnectedCallback(lambda node: tell(("-", node.id)))
        for other in others:
            self.add(other)

    def add(self, name: str, host: str = "") -> Node:
        node = Node(name, address=f"{host or name}:{PORT}")
        self.transport.addNode(node)
        return node

    def send(self, name: str, message: Any) -> bool:
        return bool(self.transport.send(Node(name), message))

    @property
    def links(self) -> dict[Link, None]:
        """
        All its connections.
        """
        return self.transport._connections._links.open

    def link(self, name: str) -> Link:
        """
        The connection in use with another node.
        """
        link = self.transport._connections._links.in_use(name)
        assert link is not None
        return link

    def messages(self) -> list[Any]:
        return [message for who, message in self.told if who not in "+-"]

    def start(self) -> Peer:
        self.transport.start()
        return self


class Stranger(Protocol):
    """
    A client that connects to a node and records what it gets.
    """

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


class WireTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = FakeNetwork(self.clock)

    def peer(self, name: str, others: str = "", **options: Any) -> Peer:
        return Peer(self.network, name, others, **options)

    def pair(self) -> tuple[Peer, Peer]:
        """
        Two nodes, connected.
        """
        a, b = self.peer("a", "b").start(), self.peer("b", "a").start()
        self.run_for(1)
        self.assertEqual((a.told, b.told), ([("+", "b")], [("+", "a")]))
        a.told.clear()
        b.told.clear()
        return a, b

    def run_for(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds * 100))

    def connect(self, host: str = "a", here: str = "stranger") -> Stranger:
        stranger = Stranger()
        factory = Factory.forProtocol(lambda: stranger)
        endpoint = self.network.connector(here)(host, PORT, 1.0)
        endpoint.connect(factory).addErrback(lambda failure: None)
        self.run_for(0.02)
        return stranger
