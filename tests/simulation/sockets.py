"""
The transport that is shipped, with its links, handshakes and dialers, over fake sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from twisted.internet.error import ConnectionLost

from alacrity.cluster.log.formats import ENCRYPTED_FORMAT, NEWEST_FORMAT
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.replica import Replica
from alacrity.cluster.wire.greeting import Greeting, GreetingCheck
from alacrity.cluster.wire.handshake import AdmissionCheck
from alacrity.cluster.wire.introductions import Manners
from alacrity.cluster.wire.openings import (
    ENCRYPTED_VERSION,
    VERSIONS,
    Versions,
    versions_at,
)
from alacrity.cluster.wire.transport import PeerTransport
from tests.simulation.nodes import Node, member
from tests.simulation.world import World
from tests.support.fake_network import FakeNetwork, FakeTransport

_PORT: Final = 8688
_SECRET: Final = b"a secret of thirty-two bytes, ok"


class Sockets:
    """
    Wires between hosts, as L{tests.simulation.network.Network} has connections.

    @ivar on_send: told of each message that leaves: from whom, to whom, and what.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.slow = 0.002
        self.disorder = 0.0
        self.late = 0.0
        self.on_send: Callable[[str, str, dict[str, Any]], object] = lambda a, b, message: None
        self.fake = FakeNetwork(world.outside)
        self.fake.delay = self._delay
        self.fake.tap = self._tap
        self._cuts: set[tuple[str, str]] = set()
        self._flips = 0

    def _delay(self, here: str, there: str) -> float:
        rng = self.world.rng
        return rng.uniform(0.0001, self.slow) if rng.random() < 0.97 else rng.uniform(0, 0.2)

    def _tap(self, here: str, there: str, data: bytes) -> bytes:
        if not self._flips:
            return data
        self._flips -= 1
        at = self.world.rng.randrange(8 * len(data))
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        return bytes(changed)

    def add(self, host: Node) -> None:
        """Nothing: hosts are there as they listen."""

    def crashed(self, name: str) -> None:
        """
        A process has ended: its kernel resets its connections, and nobody listens.
        """
        self.fake.listening.pop((name, _PORT), None)
        for end in [each for each in self.fake.connections if each.here == name]:
            end.protocol = None
            end.abortConnection()

    def is_cut(self, sender: str, receiver: str) -> bool:
        return (sender, receiver) in self._cuts

    def cut(self, cuts: set[tuple[str, str]]) -> None:
        """
        Let these directions be cut, and no others.
        """
        before, self._cuts = self._cuts, cuts
        for pair in sorted(cuts - before):
            self.fake.cut(*pair)
        for pair in sorted(before - cuts):
            self.fake.mend(*pair)

    def lose_connection(self) -> None:
        """
        One connection breaks.
        """
        ends: list[FakeTransport] = self.fake.connections
        if ends:
            self.world.rng.choice(ends).lose(ConnectionLost())

    def flip_bit(self) -> None:
        """
        One bit of what arrives next is changed on the way.
        """
        self._flips += 1


class _Telling(PeerTransport):
    """
    Tells the network of what it is given to send.
    """

    told: Callable[[str, dict[str, Any]], object]

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        if self.connected(node.id):
            self.told(node.id, message)
        return super().send(node, message)


class SocketNode(Node):
    """
    A L{Node} that talks by sockets.
    """

    network: Any
    transport: Any

    def _make_transport(self) -> Any:
        network, rng = self.network, Random(self.world.rng.getrandbits(64))
        self._accept: AdmissionCheck = lambda peer: "it begins only now"
        self._accept_greeting: GreetingCheck = lambda peer, greeting: "it begins only now"
        made = _Telling(
            member(self.name),
            lambda: self.identity,
            (_SECRET,),
            lambda peer: self._accept(peer),  # noqa: PLW0108 # it changes
            [network.fake.server(self.name, _PORT)],
            network.fake.connector(self.name),
            self.time,
            rng,
            rng.randbytes,
            self._versions,
            manners=Manners(
                lambda: self.greeting,
                lambda peer, greeting: self._accept_greeting(peer, greeting),  # noqa: PLW0108 # it changes
                min(self.version, NEWEST_FORMAT),
            ),
        )
        made.told = lambda to, message: network.on_send(self.name, to, message)
        return made

    def _versions(self) -> Versions:
        """
        The versions of the handshake that its program speaks.
        """
        if self.version < ENCRYPTED_FORMAT:
            return VERSIONS[0], ENCRYPTED_VERSION - 1
        assert self.replica is not None
        return versions_at(self.replica.format)

    def _introduce(self, replica: Replica, storage: Storage) -> None:
        self._accept = self._acceptance(replica, storage)
        self._accept_greeting = self._admission(replica, storage).greeted

    @property
    def greeting(self) -> Greeting:
        """
        The greeting of the node for its peers.
        """
        assert self.replica is not None
        return self.replica.greeting

    @property
    def identity(self) -> Any:
        """
        The identity of the node for its peers.
        """
        assert self.replica is not None
        return self.replica.identity

    def kill(self, *, power: bool = False) -> None:
        if self.running:
            self.transport._connections._dialers.stop_all()
        super().kill(power=power)
