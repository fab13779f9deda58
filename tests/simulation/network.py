"""
Connections as TCP makes them: in order, without loss while they last, and each end
learns in its own time that they do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from pysyncobj.transport import Transport

from alacrity.cluster.log.formats import GREETING_FORMAT
from alacrity.cluster.wire.greeting import Greeting, GreetingCheck
from alacrity.cluster.wire.handshake import AdmissionCheck, Identity
from tests.simulation.world import Time, World

_ONCE: Final = {"apply_command", "apply_command_response"}
"""Whether a proposal was refused is counted by these."""


class Host(Protocol):
    """
    A process that has connections.
    """

    name: str
    time: Time
    transport: SimulatedTransport


class Wires(Protocol):
    """
    The part of a network that faults act on.

    @ivar slow: seconds at most that most messages take.
    """

    slow: float

    def cut(self, cuts: set[tuple[str, str]]) -> None:
        """Let these directions be cut, and no others."""


class Connection:
    """
    Between two processes.

    @ivar identities: of both, when it was made.
    @ivar greetings: of both, as they said last.
    """

    def __init__(self, network: Network, a: Host, b: Host) -> None:
        self._network = network
        self._ends = {a.name: a, b.name: b}
        self.identities = {host.name: host.transport.identity() for host in (a, b)}
        self.greetings = {
            a.name: a.transport.greets(b.transport),
            b.name: b.transport.greets(a.transport),
        }
        self._open = {a.name: True, b.name: True}
        self._last = {a.name: 0.0, b.name: 0.0}
        self._held: dict[str, list[bytes]] = {a.name: [], b.name: []}

    def other(self, name: str) -> Host:
        return next(host for end, host in self._ends.items() if end != name)

    def is_open(self, name: str) -> bool:
        return self._open[name]

    @property
    def usable(self) -> bool:
        return all(self._open.values())

    def send(self, sender: str, message: dict[str, Any]) -> None:
        network = self._network
        world = network.world
        data = msgspec.msgpack.encode(message)
        receiver = self.other(sender)
        at = max(world.now + network.delay(), self._last[sender])
        self._last[sender] = at
        world.schedule(at - world.now, world.outside, lambda: self._arrive(receiver, data))
        if message["type"] not in _ONCE and world.rng.random() < network.disorder:
            # Not what TCP does, but what Raft stands.
            late = world.rng.uniform(0, network.late)
            world.schedule(late, world.outside, lambda: self._arrive(receiver, data))

    def _arrive(self, receiver: Host, data: bytes) -> None:
        held = self._held[receiver.name]
        if held or self._network.is_cut(self.other(receiver.name).name, receiver.name):
            held.append(data)
        else:
            self._give(receiver, data)

    def _give(self, receiver: Host, data: bytes) -> None:
        sender = self.other(receiver.name).name

        def give() -> None:
            if self._open[receiver.name]:
                receiver.transport.received(sender, msgspec.msgpack.decode(data))

        receiver.time.happen(give)

    def flush(self) -> None:
        """
        Deliver what was held by a cut that is no more.
        """
        for name, held in self._held.items():
            if held and not self._network.is_cut(self.other(name).name, name):
                waiting, self._held[name] = held, []
                for data in waiting:
                    self._give(self._ends[name], data)

    def close(self, name: str) -> None:
        """
        One end learns that it is over.
        """
        if self._open[name]:
            self._open[name] = False
            host = self._ends[name]
            if not host.time.ended:
                other = self.other(name).name
                host.time.happen(lambda: host.transport.lost(other, self))

    def fail(self, at_most: float) -> None:
        """
        Both ends will learn that it is over, each in its time.
        """
        world = self._network.world
        for name in self._ends:
            world.schedule(world.rng.uniform(0, at_most), world.outside, partial(self.close, name))


class Network:
    """
    All connections, and what is wrong with the wires.

    @ivar on_send: told of each message that leaves: from whom, to whom, and what.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.slow = 0.002
        self.disorder = 0.0
        self.late = 0.5
        self.on_send: Callable[[str, str, dict[str, Any]], object] = lambda a, b, message: None
        self._hosts: dict[str, Host] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._connections: dict[frozenset[str], Connection] = {}
        self._dial()

    def add(self, host: Host) -> None:
        self._hosts[host.name] = host

    def crashed(self, name: str) -> None:
        """
        A process has ended: its kernel tells the others, if it can.
        """
        rng = self.world.rng
        for pair, connection in self._connections.items():
            if name in pair:
                connection.close(name)
                (other,) = pair - {name}
                delay = 0.005 if (name, other) not in self._cuts else 3.0
                self.world.schedule(
                    rng.uniform(0, delay),
                    self.world.outside,
                    partial(connection.close, other),
                )

    def delay(self) -> float:
        rng = self.world.rng
        return rng.uniform(0.0001, self.slow) if rng.random() < 0.97 else rng.uniform(0, 0.2)

    def is_cut(self, sender: str, receiver: str) -> bool:
        return (sender, receiver) in self._cuts

    def cut(self, cuts: set[tuple[str, str]]) -> None:
        """
        Let these directions be cut, and no others.
        """
        new = cuts - self._cuts
        self._cuts = cuts
        for connection in self._connections.values():
            connection.flush()
        for pair in sorted(new):
            found = self._connections.get(frozenset(pair))
            if found is not None:
                self.world.schedule(
                    self.world.rng.uniform(0.5, 3.0),
                    self.world.outside,
                    partial(self._notice, pair, found),
                )

    def _notice(self, pair: tuple[str, str], connection: Connection) -> None:
        """
        The keep-alive of a connection fails, if the wire is still cut.
        """
        if pair in self._cuts:
            connection.fail(1.0)

    def lose_connection(self) -> None:
        """
        One connection breaks.
        """
        pairs = sorted(self._connections, key=sorted)
        if pairs:
            self._connections[self.world.rng.choice(pairs)].fail(0.3)

    def find(self, a: str, b: str) -> Connection | None:
        return self._connections.get(frozenset((a, b)))

    def drop(self, a: str, b: str) -> None:
        """
        C{a} hangs up, once what it has sent before is on its way.
        """
        connection = self.find(a, b)
        if connection is not None:
            connection.close(a)
            self.world.schedule(0.3, self.world.outside, lambda: connection.close(b))

    def _dial(self) -> None:
        rng = self.world.rng
        hosts = sorted(self._hosts)
        for at, a in enumerate(hosts):
            for b in hosts[at + 1 :]:
                if self._can_connect(a, b) and rng.random() < 0.7:
                    self._connect(a, b)
        self.world.schedule(rng.uniform(0.05, 0.15), self.world.outside, self._dial)

    def _can_connect(self, a: str, b: str) -> bool:
        first, second = self._hosts[a], self._hosts[b]
        connection = self.find(a, b)
        return (
            not (connection is not None and connection.usable)
            and (a, b) not in self._cuts
            and (b, a) not in self._cuts
            and all(
                not host.time.ended and not host.time.paused and host.transport.running
                for host in (first, second)
            )
            and (first.transport.wants(b) or second.transport.wants(a))
            and first.transport.accept(second.transport.identity()) is None
            and second.transport.accept(first.transport.identity()) is None
            and first.transport.welcomes(second.transport)
            and second.transport.welcomes(first.transport)
        )

    def _connect(self, a: str, b: str) -> None:
        old = self.find(a, b)
        if old is not None:
            old.close(a)
            old.close(b)
        connection = Connection(self, self._hosts[a], self._hosts[b])
        self._connections[frozenset((a, b))] = connection
        self._hosts[a].transport.made(b, connection)
        self._hosts[b].transport.made(a, connection)


class SimulatedTransport(Transport):  # type: ignore[misc] # it is not annotated
    """
    One run of a process has one.

    @ivar changes: how often the connection with a peer has come or gone.
    @ivar identity: gives that of the process.
    @ivar accept: why somebody is refused; L{None}: it is not.
    """

    def __init__(self, network: Network, name: str, make_node: Callable[[str], Any]) -> None:
        super().__init__(None, None, [])
        self._network = network
        self._name = name
        self._make_node = make_node
        self._peers: set[str] = set()
        self._connections: dict[str, Connection] = {}
        self.changes: Counter[str] = Counter()
        self.running = False
        self.identity = lambda: Identity(name, "")
        self.accept: AdmissionCheck = lambda peer: (
            None if self.wants(peer.name) else "it is unknown"
        )

        self.own_greeting: Callable[[], Greeting] = Greeting
        self.accept_greeting: GreetingCheck = lambda peer, greeting: None

    ready = True

    def greets(self, other: SimulatedTransport) -> Greeting | None:
        both = min(self.identity().format, other.identity().format)
        return self.own_greeting() if both >= GREETING_FORMAT else None

    def welcomes(self, other: SimulatedTransport) -> bool:
        return self.accept_greeting(other.identity(), other.greets(self)) is None

    def greeting(self, name: str) -> Greeting | None:
        connection = self._connections.get(name)
        return None if connection is None else connection.greetings[name]

    def fault(self, name: str) -> str | None:
        return None

    def refused(self) -> dict[str, str]:
        return {}

    def greet_again(self) -> None:
        for peer, connection in sorted(self._connections.items()):
            other = connection.other(self._name).transport
            connection.greetings[self._name] = self.greets(other)
            if not (self._still_welcomes(peer) and other._still_welcomes(self._name)):
                self._network.drop(self._name, peer)

    def _still_welcomes(self, name: str) -> bool:
        connection = self._connections.get(name)
        if connection is None:
            return True
        return self.accept_greeting(connection.identities[name], connection.greetings[name]) is None

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False
        for peer in sorted(self._connections):
            self._network.drop(self._name, peer)

    def destroy(self) -> None:
        pass

    def last_contact(self, name: str) -> float | None:
        return None

    def wants(self, peer: str) -> bool:
        return peer in self._peers

    def addNode(self, node: Any) -> None:
        self._peers.add(node.id)
        connection = self._connections.get(node.id)
        # It was let in when less was known of it.
        if connection is not None and self.accept(connection.identities[node.id]) is not None:
            self._network.drop(self._name, node.id)

    def dropNode(self, node: Any) -> None:
        self._peers.discard(node.id)
        self._network.drop(self._name, node.id)

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        connection = self._connections.get(node.id)
        if connection is None:
            return False
        self._network.on_send(self._name, node.id, message)
        connection.send(self._name, message)
        return True

    def made(self, peer: str, connection: Connection) -> None:
        self._connections[peer] = connection
        self.changes[peer] += 1
        self._onNodeConnected(self._make_node(peer))

    def lost(self, peer: str, connection: Connection) -> None:
        if self._connections.get(peer) is connection:
            del self._connections[peer]
            self.changes[peer] += 1
            self._onNodeDisconnected(self._make_node(peer))

    def received(self, peer: str, message: dict[str, Any]) -> None:
        if peer in self._connections:
            self._onMessageReceived(self._make_node(peer), message)
