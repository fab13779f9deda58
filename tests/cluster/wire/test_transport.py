"""
L{alacrity.cluster.wire.transport}: nodes and strangers on a network in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pysyncobj.node import Node
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.admission import PeerAdmission
from alacrity.cluster.wire.connections import MOST_UNPROVEN
from alacrity.cluster.wire.frames import LONGEST_PAYLOAD
from alacrity.cluster.wire.handshake import NONCE_SIZE, Identity, respond
from alacrity.cluster.wire.link import (
    FRAME_TIMEOUT,
    HANDSHAKE_TIMEOUT,
    IDLE_TIMEOUT,
    MOST_UNSENT,
    Link,
)
from alacrity.cluster.wire.transport import PeerTransport
from tests.support.fake_files import FakeFiles
from tests.support.fake_network import FakeNetwork, FakeTransport

SECRET = b"s" * 32

PORT = 8688


class Peer:
    """
    A node: its transport, and the events that the replica is told.

    @ivar strangers: names of nodes that it does not know.
    @ivar addresses: whether it knows the addresses of the others.
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
    ) -> None:
        self.network = network
        self.name = name
        self.host = host or name
        self.told: list[Any] = []
        self.strangers = set(strangers)
        self.addresses = True
        self.storage = Storage.open(FakeFiles())
        self.transport = PeerTransport(
            Member(name, f"{self.host}:{PORT}"),
            lambda: Identity(name, incarnation or self.storage.incarnation),
            secret,
            PeerAdmission(
                lambda n: (
                    None
                    if n in self.strangers
                    else Member(n, f"{n}:{PORT}" if self.addresses else "")
                ),
                self.storage,
            ),
            [network.server(self.host, PORT)],
            network.connector(self.host),
            network.clock,
            Random(name),
            Random(f"{name} {id(self)}").randbytes,
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


class Base(SynchronousTestCase):
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


class PairTests(Base):
    """
    Two nodes.
    """

    def test_messages(self) -> None:
        """
        Messages arrive in order, as plain values.
        """
        a, b = self.pair()
        for n in range(5):
            self.assertTrue(a.send("b", {"type": "t", "n": n, "entries": [(b"\0x", 1, 2)]}))
        self.assertTrue(b.send("a", {"n": None}))
        self.run_for(0.1)
        self.assertEqual(
            b.told, [("a", {"type": "t", "n": n, "entries": [[b"\0x", 1, 2]]}) for n in range(5)]
        )
        self.assertEqual(a.told, [("b", {"n": None})])

    def test_one_connection(self) -> None:
        """
        There is one connection, whichever node starts first.
        """
        for first in ("a", "b"):
            self.setUp()
            order = [self.peer("a", "b"), self.peer("b", "a")]
            if first == "b":
                order.reverse()
            order[0].start()
            self.run_for(3)
            order[1].start()
            self.run_for(1.5)
            self.assertEqual(order[0].told[-1][0], "+")
            self.assertEqual(len(self.network.connections), 2)
            self.assertEqual(
                {(end.here, end.there) for end in self.network.connections},
                {("a", "b"), ("b", "a")},
            )
            self.assertTrue(all(end.no_delay for end in self.network.connections))

    def test_not_connected(self) -> None:
        a = self.peer("a", "b").start()
        self.assertFalse(a.send("b", {}))
        self.assertFalse(a.send("nobody", {}))
        self.assertIsNone(a.transport.last_contact("b"))

    def test_connects_soon_again(self) -> None:
        """
        A connection that breaks is made anew within a fraction of a second.
        """
        a, b = self.pair()
        self.network.connections[0].abortConnection()
        self.run_for(0.02)
        self.assertEqual((a.told, b.told), ([("-", "b")], [("-", "a")]))
        self.assertFalse(a.send("b", {}))
        self.run_for(0.2)
        self.assertEqual((a.told[1:], b.told[1:]), ([("+", "b")], [("+", "a")]))

    def test_peer_is_away_for_long(self) -> None:
        """
        A node that is away is tried at least about once a second, with one warning.
        """
        b = self.peer("b", "a")
        with capturedLogs() as logs:
            b.start()
            self.run_for(60)
        warnings = [formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.assertIn("a (a:8688): cannot be reached: Connection was refused", warnings[0])
        a = self.peer("a", "b").start()
        self.run_for(1.3)
        self.assertEqual(a.told, [("+", "b")])

    def test_dead_link(self) -> None:
        """
        A connection that brings nothing is noticed without traffic: on the side that hears
        nothing, and on the other when that closes.
        """
        for cut in ([("a", "b")], [("b", "a")], [("a", "b"), ("b", "a")]):
            self.setUp()
            a, b = self.pair()
            for here, there in cut:
                self.network.cut(here, there)
            self.run_for(IDLE_TIMEOUT + 0.3)
            deaf = b if cut[0][0] == "a" else a
            self.assertEqual(deaf.told, [("-", {"a": "b", "b": "a"}[deaf.name])])
            for here, there in cut:
                self.network.mend(here, there)
            self.run_for(3)
            self.assertEqual((a.told[-1], b.told[-1]), (("+", "b"), ("+", "a")))

    def test_idle_link_lives(self) -> None:
        a, b = self.pair()
        self.run_for(60)
        self.assertEqual((a.told, b.told), ([], []))
        contact = a.transport.last_contact("b")
        assert contact is not None
        self.assertLess(contact, 1)

    def test_last_contact(self) -> None:
        """
        The time since a node was last heard is known when it is gone, too.
        """
        a, b = self.pair()
        b.transport.stop()
        self.run_for(10)
        self.assertFalse(a.transport.connected("b"))
        contact = a.transport.last_contact("b")
        assert contact is not None
        self.assertTrue(9 < contact <= 10, contact)

    def test_nothing_of_an_older_connection(self) -> None:
        """
        Messages that arrive late on an older connection are not told once there is a newer
        one.
        """
        a, b = self.pair()
        self.network.cut("b", "a")
        b.send("a", {"n": "old"})
        [old] = [end for end in self.network.connections if end.here == "b"]
        old._lost = True  # b's machine has forgotten it.
        again = self.peer("b", "a", incarnation=b.storage.incarnation)
        self.network.mend("b", "a")
        old.other.reading = False
        del self.network.listening["b", PORT]
        again.start()
        self.run_for(0.1)
        self.assertEqual(a.told, [("-", "b"), ("+", "b")])
        old.other.reading = True
        old.hurry()
        self.run_for(0.1)
        self.assertEqual(a.messages(), [])
        again.send("a", {"n": "new"})
        self.run_for(0.1)
        self.assertEqual(a.messages(), [{"n": "new"}])

    def test_slow_reader(self) -> None:
        """
        The bytes that wait for a peer that does not read are bounded; then the connection
        is given up.
        """
        a, _ = self.pair()
        [end] = [end for end in self.network.connections if end.here == "b"]
        end.reading = False
        message = {"data": bytes(1 << 20)}
        sent = 0
        with capturedLogs() as logs:
            while a.send("b", message):
                sent += 1
                self.assertLessEqual(sent, 100)
            self.run_for(0.05)
        self.assertLessEqual(sent << 20, MOST_UNSENT + (1 << 21))
        self.assertEqual(a.told, [("-", "b")])
        self.assertIn("does not read what is sent to it", "".join(map(formatEvent, logs)))

    def test_backpressure_keeps_order(self) -> None:
        a, b = self.pair()
        for n in range(50):
            self.assertTrue(a.send("b", {"n": n, "data": bytes(20000)}))
        self.run_for(0.5)
        self.assertEqual([m["n"] for m in b.messages()], list(range(50)))

    def test_too_long_message(self) -> None:
        a, b = self.pair()
        with capturedLogs() as logs:
            self.assertFalse(a.send("b", {"data": bytes(LONGEST_PAYLOAD)}))
        self.assertIn("is not sent", formatEvent(logs[0]))
        self.run_for(0.1)
        self.assertEqual((a.told, b.told), ([], []))

    def test_engine_raises(self) -> None:
        """
        An exception of the replica's is logged, and the connection goes on.
        """
        a, b = self.pair()

        def fail(node: Node, message: Any) -> None:
            raise RuntimeError("engine")

        b.transport.setOnMessageReceivedCallback(fail)
        a.send("b", {})
        self.run_for(0.1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(b.transport.connected("a"))

    def test_engine_raises_on_loss(self) -> None:
        """
        An exception at a loss is logged, and the connection is made anew.
        """
        _, b = self.pair()

        def fail(node: Node) -> None:
            raise RuntimeError("engine")

        b.transport.setOnNodeDisconnectedCallback(fail)
        self.network.connections[0].abortConnection()
        self.run_for(0.3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(b.transport.connected("a"))

    def test_clone(self) -> None:
        """
        Of two nodes with the same name and the same files, the first stays connected and
        the other is refused, whichever side made the connection; each side logs that once.
        The other is let in when the first is gone.
        """
        for copied, other in ("ba", "ab"):
            with self.subTest(copied):
                self.setUp()
                pair = {peer.name: peer for peer in self.pair()}
                first, there = pair[copied], pair[other]
                clone = self.peer(
                    copied, other, host="elsewhere", incarnation=first.storage.incarnation
                )
                self.run_for(3)
                with capturedLogs() as logs:
                    clone.start()
                    self.run_for(60)
                self.assertEqual((there.told, clone.told), ([], []))
                reason = (
                    f"'{copied}' is connected from {copied} already, with the same files: "
                    f"one of the two is a copy, which must not run"
                )
                self.assertEqual(
                    {formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn},
                    {
                        f"elsewhere: refused: {reason}",
                        f"{other} ({other}:{PORT}): refused: it refuses: {reason!a}",
                    },
                )
                self.assertLessEqual(len(logs), 10)
                first.transport.stop()
                with capturedLogs():
                    self.run_for(10)
                self.assertEqual(there.told, [("-", copied), ("+", copied)])

    def test_other_host_after_silence(self) -> None:
        """
        A node that is not heard any more may soon come back from another host.
        """
        a, b = self.pair()
        self.network.cut("b", "a")
        self.network.cut("a", "b")
        moved = self.peer("b", "a", host="elsewhere", incarnation=b.storage.incarnation)
        with capturedLogs():
            moved.start()
            self.run_for(3)
        self.assertEqual(a.told, [("-", "b"), ("+", "b")])
        self.assertEqual(moved.told, [("+", "a")])

    def test_malformed_message(self) -> None:
        """
        A malformed message of a node that has the secret ends the connection, and is
        logged.
        """
        for payload in (b"\x93\1\2\3", b"\xc1", b"\x81\1\2", b"\x81\xa1a\xd4\1\0", b"\x91" * 5000):
            self.setUp()
            a, b = self.pair()
            with capturedLogs() as logs:
                a.link("b").send(payload)
                self.run_for(0.05)
            self.assertEqual(b.told, [("-", "a")])
            self.assertIn("a message that cannot be decoded", "".join(map(formatEvent, logs)))

    def test_drop_node(self) -> None:
        """
        A dropped node's connection is closed once all that was sent has arrived, and is not
        made anew.
        """
        for dropping in (0, 1):
            self.setUp()
            pair = self.pair()
            one, other = pair[dropping], pair[1 - dropping]
            one.send(other.name, {"you are": "removed"})
            one.strangers.add(other.name)
            one.transport.dropNode(Node(other.name))
            self.assertEqual(one.told, [("-", other.name)])
            self.assertFalse(one.send(other.name, {}))
            self.run_for(0.05)
            self.assertEqual(other.told, [(one.name, {"you are": "removed"}), ("-", one.name)])
            with capturedLogs():
                self.run_for(5)
            self.assertEqual((one.told[1:], other.told[2:]), ([], []))
            one.strangers.clear()
            one.add(other.name)
            self.run_for(2)
            self.assertEqual(one.told[-1], ("+", other.name))

    def test_drop_node_at_a_message(self) -> None:
        """
        Messages that came together with the one at which the node is dropped are not told.
        """
        a, b = self.pair()
        heard = []

        def drop(node: Node, message: Any) -> None:
            heard.append(message)
            b.transport.dropNode(node)

        b.transport.setOnMessageReceivedCallback(drop)
        frames: list[bytes] = []

        def hold(here: str, there: str, data: bytes) -> bytes:
            frames.append(data)
            return b""

        self.network.tap = hold
        a.send("b", {"n": 1})
        a.send("b", {"n": 2})
        self.run_for(0.05)
        self.network.tap = lambda here, there, data: data
        b.link("a").dataReceived(b"".join(frames))
        self.assertEqual(heard, [{"n": 1}])

    def test_drop_node_in_handshake(self) -> None:
        a, b = self.peer("a", "b").start(), self.peer("b", "a").start()
        self.run_for(0.01)
        self.clock.advance(0)
        while not b.links:
            self.clock.advance(0.0001)
        b.transport.dropNode(Node("a"))
        b.strangers.add("a")
        with capturedLogs():
            self.run_for(3)
        self.assertEqual((a.told, b.told), ([], []))

    def test_dropped_and_added(self) -> None:
        """
        A node that is dropped and added again has one connection, which lasts.
        """
        _, b = self.pair()
        [old] = [end for end in self.network.connections if end.here == "b"]
        old.other.reading = False  # So that the old one ends late.
        b.transport.dropNode(Node("a"))
        b.add("a")
        self.run_for(0.5)
        self.assertEqual(b.told, [("-", "a"), ("+", "a")])
        old.other.reading = True
        old.hurry()
        self.run_for(5)
        self.assertEqual(b.told, [("-", "a"), ("+", "a")])

    def test_other_address(self) -> None:
        """
        A node that is added with another address is connected to there.
        """
        a, b = self.pair()
        a.transport.stop()
        self.run_for(0.1)
        moved = self.peer("a", "b", host="elsewhere", incarnation=a.storage.incarnation).start()
        b.add("a", host="elsewhere")
        self.run_for(1)
        self.assertEqual(moved.told, [("+", "b")])

    def test_stop(self) -> None:
        """
        A stop closes all connections, and the messages that were sent arrive.
        """
        a, b = self.pair()
        b.send("a", {"last": "words"})
        stopped = b.transport.stop()
        self.assertFalse(b.transport.ready)
        self.run_for(0.1)
        self.successResultOf(stopped)
        self.assertEqual(a.told, [("b", {"last": "words"}), ("-", "b")])
        self.assertNotIn(("b", PORT), self.network.listening)
        a.transport.stop()
        self.run_for(0.1)
        self.assertEqual(self.network.connections, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_started_again(self) -> None:
        """
        A transport can be started again after a stop, and during one.
        """
        for wait in (5, 0):
            for name in "ab":
                self.setUp()
                a, b = self.pair()
                one = a if name == "a" else b
                one.transport.stop()
                self.run_for(wait)
                started = one.transport.start()
                self.run_for(3)
                self.successResultOf(started)
                self.assertTrue(one.transport.ready)
                self.assertEqual(
                    (a.told, b.told), ([("-", "b"), ("+", "b")], [("-", "a"), ("+", "a")])
                )
                self.run_for(10)
                self.assertEqual((len(a.told), len(b.told)), (2, 2))

    def test_stop_with_deaf_peer(self) -> None:
        a, b = self.pair()
        self.network.cut("a", "b")
        self.network.cut("b", "a")
        stopped = b.transport.stop()
        self.run_for(1.2)
        self.successResultOf(stopped)
        self.assertEqual(a.told, [])

    def test_address_in_use(self) -> None:
        self.peer("a").start()
        other = self.peer("b", host="a")
        failed = other.transport.start()
        self.failureResultOf(failed, CannotListenError)
        self.assertFalse(other.transport.ready)

    def test_three(self) -> None:
        names = "abc"
        peers = [self.peer(n, names.replace(n, "")).start() for n in names]
        self.run_for(1)
        for peer in peers:
            self.assertEqual({told[1] for told in peer.told}, set(names) - {peer.name})
        self.assertEqual(len(self.network.connections), 6)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 1 << 30))
    def test_weather(self, seed: int) -> None:
        """
        Cuts, breaks and restarts at random: on each connection, each side is told the first
        of the messages that the other sent, in order; in the end they are connected.
        """
        self.setUp()
        rng = Random(seed)
        a, b = self.peer("a", "b").start(), self.peer("b", "a").start()
        count = 0
        with capturedLogs():
            for _ in range(60):
                match rng.randrange(8):
                    case 0:
                        self.network.cut(*rng.choice([("a", "b"), ("b", "a")]))
                    case 1 | 2:
                        self.network.mend("a", "b")
                        self.network.mend("b", "a")
                    case 3:
                        if self.network.connections:
                            rng.choice(self.network.connections).abortConnection()
                    case _:
                        for here, there in ((a, "b"), (b, "a")):
                            count += 1
                            here.send(there, {"n": count})
                self.run_for(rng.choice([0.01, 0.1, 0.5, 2.0]))
            self.network.mend("a", "b")
            self.network.mend("b", "a")
            self.run_for(5)
        for peer in (a, b):
            numbers = [m["n"] for m in peer.messages()]
            self.assertEqual(numbers, sorted(set(numbers)))
            signs = [who for who, _ in peer.told if who in "+-"]
            self.assertEqual(signs, (["+", "-"] * len(signs))[: len(signs)])
            self.assertEqual(signs[-1], "+")
        self.assertEqual(len(self.network.connections), 2)


class FaultTests(Base):
    """
    Three nodes, and a connection that raises.
    """

    def setUp(self) -> None:
        super().setUp()
        self.a = self.peer("a", "bc").start()
        self.b = self.peer("b", "a").start()
        self.c = self.peer("c", "a").start()
        self.run_for(1)
        self.a.told.clear()

    def break_link(self, *methods: str) -> None:
        """
        Have methods of the transport of the connection with b raise from now on.
        """

        def fail(*_: object) -> None:
            raise ValueError("negative file descriptor")

        for method in methods:
            setattr(self.a.link("b").transport, method, fail)

    def assert_well(self) -> None:
        """
        Assert that the fault cost the connection with b alone, which is made anew.
        """
        errors = self.flushLoggedErrors(ValueError)
        self.assertGreaterEqual(len(errors), 1)
        self.run_for(3)
        self.assertEqual(self.a.told, [("-", "b"), ("+", "b")])
        self.assertEqual(len(self.a.links), 2)
        self.assertTrue(self.a.send("b", {"n": 1}))
        self.run_for(IDLE_TIMEOUT * 3)
        # Keep-alives go out, and who is silent is found out.
        self.assertEqual(self.a.told, [("-", "b"), ("+", "b")])
        self.network.cut("c", "a")
        self.run_for(IDLE_TIMEOUT + 0.5)
        self.assertEqual(self.a.told[2:], [("-", "c")])
        self.assertEqual(self.flushLoggedErrors(ValueError), [])

    def test_keep_alive(self) -> None:
        self.break_link("write")
        self.run_for(IDLE_TIMEOUT)
        self.assert_well()

    def test_idle(self) -> None:
        self.break_link("abortConnection", "write", "loseConnection")
        self.network.cut("b", "a")
        self.run_for(IDLE_TIMEOUT + 0.5)
        self.network.mend("b", "a")
        self.assert_well()

    def test_send(self) -> None:
        """
        A message that cannot be sent is reported as not sent, without an exception.
        """
        self.break_link("write")
        self.assertFalse(self.a.send("b", {"n": 1}))
        self.assert_well()

    def test_dropped(self) -> None:
        self.break_link("loseConnection", "abortConnection")
        self.a.transport.dropNode(Node("b"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertEqual(self.a.told, [("-", "b")])
        self.assertEqual(len(self.a.links), 1)
        self.a.add("b")
        # The other side has a connection still, until it hears nothing on it.
        self.run_for(3)
        self.assertEqual(self.a.told[-1], ("+", "b"))
        self.assertTrue(self.a.send("b", {"n": 1}))

    def test_stop(self) -> None:
        """
        A stop is not held up by the fault.
        """
        self.break_link("loseConnection", "abortConnection", "write")
        stopped = self.a.transport.stop()
        self.run_for(1.5)
        self.successResultOf(stopped)
        self.assertEqual(self.a.links, {})
        self.assertGreaterEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_built_and_never_connected(self) -> None:
        """
        A link that never gets a transport is given up when its handshake is late.
        """
        link = self.a.transport._connections._link(
            respond(SECRET, Identity("a", "1" * 32), lambda peer: None, bytes(NONCE_SIZE)), None
        )
        self.run_for(HANDSHAKE_TIMEOUT + 0.5)
        self.assertTrue(link.closed)
        self.a.told.clear()
        self.network.cut("c", "a")
        self.run_for(IDLE_TIMEOUT + 0.5)
        self.assertEqual(self.a.told, [("-", "c")])


class StallTests(Base):
    """
    A process that did not run for a while.
    """

    def test_what_was_said_meanwhile_is_read_first(self) -> None:
        for stalled, stays in ((1.0, True), (2.0, True), (2.4, True), (6.0, False)):
            with self.subTest(stalled):
                self.setUp()
                a, b = self.pair()
                del b
                # Nothing comes in, and one look is late.
                for end in self.network.connections:
                    end.reading = False
                self.clock.advance(stalled)
                self.assertEqual(a.told, [] if stays else [("-", "b")])
                # If there is nothing to read, it is silence.
                self.run_for(IDLE_TIMEOUT + 0.5)
                self.assertEqual(a.told[0], ("-", "b"))


class WhoConnectsTests(Base):
    """
    Nodes of which one or both were told of the other.
    """

    def assert_connected(self, *peers: Peer) -> None:
        """
        Assert that each two nodes have one connection, and that their replicas know.
        """
        names = {peer.name for peer in peers}
        ends = [(end.here, end.there) for end in self.network.connections]
        self.assertEqual(
            sorted(ends), sorted((a, b) for a in names for b in names if a != b), peers[0].told
        )
        for peer in peers:
            for name in names - {peer.name}:
                signs = [sign for sign, who in peer.told if sign in "+-" and who == name]
                self.assertEqual(signs, (["+", "-"] * len(signs))[: len(signs)])
                self.assertEqual(signs[-1], "+")
                self.assertTrue(peer.transport.connected(name))

    def test_one_side_is_told(self) -> None:
        """
        The node that was told of the other connects, and again if the connection is lost;
        if its name is the lesser, within less than a second.
        """
        for knowing, other in (("a", "b"), ("b", "a")):
            self.setUp()
            one, two = self.peer(knowing, other).start(), self.peer(other).start()
            for count in range(1, 4):
                self.run_for(0.7)
                self.assert_connected(one, two)
                self.assertEqual(len(one.told), 2 * count - 1)
                self.assertTrue(one.send(other, {}))
                self.assertTrue(two.send(knowing, {}))
                self.run_for(2.5)
                self.assertEqual((one.messages(), two.messages()), ([{}], [{}]))
                one.told.remove((other, {}))
                two.told.remove((knowing, {}))
                self.network.connections[0].abortConnection()
                self.run_for(0.02)

    def test_told_later(self) -> None:
        """
        A node that is told of one with which it is connected already keeps that connection,
        and makes a new one should it be lost.
        """
        for knowing, other in (("a", "b"), ("b", "a")):
            self.setUp()
            one, two = self.peer(knowing, other).start(), self.peer(other).start()
            self.run_for(1)
            two.add(knowing)
            self.run_for(5)
            self.assertEqual((one.told, two.told), ([("+", other)], [("+", knowing)]))
            one.transport.dropNode(Node(other))
            self.run_for(2)
            self.assert_connected(one, two)

    def test_not_told_any_more(self) -> None:
        for one in "ab":
            self.setUp()
            a, b = self.pair()
            for peer in (a, b) if one == "a" else (b, a):
                peer.transport.dropNode(Node("b" if peer is a else "a"))
            self.run_for(5)
            self.assertEqual((a.told, b.told), ([("-", "b")], [("-", "a")]))
            self.assertEqual(self.network.connections, [])

    def test_death(self) -> None:
        """
        A node that comes back is connected soon, whatever its name, and however long it was
        away.
        """
        for dying in "ab":
            for away in (0.05, 0.3, 3.0, 30.0):
                self.setUp()
                a, b = self.pair()
                self.run_for(3)
                dead, other = (a, b) if dying == "a" else (b, a)
                with capturedLogs():
                    dead.transport.stop()
                    self.run_for(away)
                    dead.transport.start()
                    self.run_for(1.3)
                self.assertEqual(other.told, [("-", dying), ("+", dying)])
                self.assertEqual(dead.told, [("-", other.name), ("+", other.name)])
                self.assertEqual(len(self.network.connections), 2)

    def both_connect(self, delay: float, ahead: float) -> tuple[Peer, Peer]:
        """
        Two nodes that connect to each other at about the same time.

        @param delay: of the network.
        @param ahead: how long the lesser name begins before the other; negative: after it.
        """
        self.setUp()
        self.network.delay = lambda here, there: delay
        a, b = self.peer("a").start(), self.peer("b").start()

        def a_connects() -> None:
            # It need not wait, to have it meet the other.
            a.add("b")
            dialer = a.transport._connections._dialers.get("b")
            assert dialer is not None
            assert dialer._retry is not None
            dialer._retry.cancel()
            dialer.dial()

        turns = [a_connects, lambda: b.add("a")]
        if ahead < 0:
            turns.reverse()
        turns[0]()
        self.clock.pump([0.001] * round(abs(ahead) * 1000))
        turns[1]()
        return a, b

    def test_both_connect(self) -> None:
        """
        One connection is left, and each replica sees it replaced at most once. Both sides
        may send from the first moment on.
        """
        for delay in (0.001, 0.01, 0.05):
            for step in range(-60, 61):
                a, b = self.both_connect(delay, step * delay / 10)
                with capturedLogs() as logs:
                    self.run_for(5)
                self.assert_connected(a, b)
                self.assertLessEqual(len(a.told), 3)
                self.assertEqual(b.told, [("+", "a")])
                warnings = [formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn]
                self.assertEqual(warnings, [])

    def test_crossed(self) -> None:
        """
        If both handshakes are done at once, the connection that the greater name has
        made stays.
        """
        a, b = self.both_connect(0.01, 0)
        self.run_for(3)
        self.assertEqual(a.told, [("+", "b"), ("-", "b"), ("+", "b")])
        self.assertEqual(b.told, [("+", "a")])
        self.assertEqual([link.target for link in b.links], ["a"])
        self.assertEqual([link.target for link in a.links], [None])

    @settings(max_examples=80, deadline=None)
    @given(st.integers(0, 1 << 30))
    def test_in_the_end(self, seed: int) -> None:
        """
        However nodes are told of each other, and whatever breaks meanwhile: in the end each
        two of which one knows the other have one connection.
        """
        self.setUp()
        rng = Random(seed)
        slow = rng.choice([0.001, 0.02, 0.2])
        self.network.delay = lambda here, there: rng.uniform(0.0005, slow)
        peers = [self.peer(name).start() for name in "abc"]
        pairs = [(a, b) for a in peers for b in peers if a is not b]
        told: set[tuple[str, str]] = set()
        with capturedLogs():
            for _ in range(40):
                one, other = rng.choice(pairs)
                match rng.randrange(10):
                    case 0 | 1 | 2:
                        one.add(other.name)
                        told.add((one.name, other.name))
                    case 3:
                        one.transport.dropNode(Node(other.name))
                        told.discard((one.name, other.name))
                    case 4 | 5 if self.network.connections:
                        rng.choice(self.network.connections).abortConnection()
                    case 6:
                        self.network.cut(one.name, other.name)
                    case 7 | 8:
                        self.network.mend(one.name, other.name)
                        self.network.mend(other.name, one.name)
                    case 9:
                        one.transport.stop()
                        one.transport.start()
                self.assertLessEqual(len(self.network.connections), 24)
                self.run_for(rng.choice([0.01, 0.05, 0.4, 1.0, 3.0]))
            rng.shuffle(pairs)
            for one, other in pairs:
                self.network.mend(one.name, other.name)
                self.network.mend(other.name, one.name)
                if not told & {(one.name, other.name), (other.name, one.name)}:
                    one.add(other.name)
                    told.add((one.name, other.name))
            self.run_for(10)
            self.assert_connected(*peers)
            before = [list(peer.told) for peer in peers]
            self.run_for(30)
        self.assertEqual([peer.told for peer in peers], before)
        self.assert_connected(*peers)


class RefusedTests(Base):
    """
    Nodes that are refused.
    """

    def refused(self, a: Peer, b: Peer, a_says: str, b_says: str) -> None:
        """
        Assert that two nodes do not connect, and log why, once each.
        """
        with capturedLogs() as logs:
            a.start()
            b.start()
            self.run_for(30)
        self.assertEqual((a.messages(), b.messages()), ([], []))
        self.assertEqual((a.told, b.told), ([], []))
        texts = sorted(formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn)
        self.assertEqual(texts, sorted([f"{b.host}: refused: {a_says}", b_says]))

    def test_other_secret(self) -> None:
        self.refused(
            self.peer("a"),
            self.peer("b", "a", secret=b"t" * 32),
            "it has another secret",
            "a (a:8688): refused: it refuses: 'it has another secret'",
        )

    def test_unknown_node(self) -> None:
        reason = "'b' is not a member of the cluster"
        self.refused(
            self.peer("a", strangers="b"),
            self.peer("b", "a"),
            reason,
            f'a (a:8688): refused: it refuses: "{reason}"',
        )

    def test_empty_disk(self) -> None:
        """
        Whichever side has the empty disk, the other refuses.
        """
        reason = (
            "'{}' came back with an empty disk, or two nodes have this name: "
            "remove it from the cluster and add it again"
        )
        a, b = self.peer("a"), self.peer("b", "a")
        a.storage.remember_peer("b", "0" * 32)
        self.refused(
            a, b, reason.format("b"), f'a (a:8688): refused: it refuses: "{reason.format("b")}"'
        )
        self.setUp()
        a, b = self.peer("a"), self.peer("b", "a")
        b.storage.remember_peer("a", "0" * 32)
        self.refused(
            a,
            b,
            f'it refuses: "{reason.format("a")}"',
            f"a (a:8688): refused: {reason.format('a')}",
        )

    def test_incarnation_is_remembered(self) -> None:
        a, b = self.pair()
        self.assertEqual(a.storage.peers, {"b": b.storage.incarnation})
        self.assertEqual(b.storage.peers, {"a": a.storage.incarnation})

    def test_refused_once_it_is_added(self) -> None:
        """
        A node that was let in while the member's incarnation was unknown is refused once
        that is known.
        """
        for knowing, other in (("a", "b"), ("b", "a")):
            self.setUp()
            one, two = self.peer(knowing), self.peer(other, knowing)
            one.addresses = False
            one.start()
            two.start()
            self.run_for(1)
            self.assertEqual(one.told, [("+", other)])
            one.addresses = True
            one.storage.remember_peer(other, "0" * 32)
            with capturedLogs() as logs:
                one.add(other)
                self.run_for(5)
            self.assertEqual(one.told, [("+", other), ("-", other)])
            self.assertFalse(two.transport.connected(knowing))
            self.assertIn("came back with an empty disk", "".join(map(formatEvent, logs)))

    def test_incarnation_is_remembered_once_it_is_added(self) -> None:
        a, b = self.peer("a"), self.peer("b", "a")
        a.addresses = False
        a.start()
        b.start()
        self.run_for(1)
        self.assertEqual(a.storage.peers, {})
        a.addresses = True
        a.add("b")
        self.assertEqual(a.storage.peers, {"b": b.storage.incarnation})
        self.assertTrue(a.transport.connected("b"))

    def test_somebody_else_is_there(self) -> None:
        c = self.peer("c", host="a")
        c.add("b")
        b = self.peer("b")
        b.add("a")
        reason = "it looks for 'a', and this is 'c'"
        with capturedLogs() as logs:
            c.start()
            b.start()
            self.run_for(3)
        self.assertEqual((b.told, c.told), ([("+", "c")], [("+", "b")]))
        texts = [formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn]
        self.assertIn(f'a (a:8688): refused: it refuses: "{reason}"', texts)


class StrangerTests(Base):
    """
    Clients that do not have the secret.
    """

    def setUp(self) -> None:
        super().setUp()
        self.a = self.peer("a").start()

    def after(self, data: bytes, wait: float = 0.05) -> list[str]:
        """
        The lines that are logged about a stranger that sends something, having asserted
        that its connection is closed and no event is told.
        """
        with capturedLogs() as logs:
            stranger = self.connect()
            assert stranger.transport is not None
            stranger.transport.write(data)
            self.run_for(wait)
        self.assertTrue(stranger.lost)
        self.assertEqual(self.a.told, [])
        self.assertEqual(self.a.links, {})
        return [formatEvent(e) for e in logs]

    def test_scanner(self) -> None:
        """
        A client that connects and sends nothing is not logged.
        """
        self.assertEqual(self.after(b"", HANDSHAKE_TIMEOUT + 0.3), [])

    def test_goes_away(self) -> None:
        with capturedLogs() as logs:
            stranger = self.connect()
            assert stranger.transport is not None
            stranger.transport.loseConnection()
            self.run_for(0.1)
        self.assertEqual(logs, [])
        self.assertEqual(self.a.links, {})

    def test_http(self) -> None:
        [text] = self.after(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn("stranger: refused: it does not speak this protocol: a frame of", text)
        self.assertEqual(self.after(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), [])

    def test_half_a_frame(self) -> None:
        [text] = self.after(b"\0\0\0\x30H", HANDSHAKE_TIMEOUT + 0.3)
        self.assertIn("does not finish the handshake in 3 seconds", text)

    def test_trickle(self) -> None:
        """
        A byte now and then does not keep the connection open.
        """
        stranger = self.connect()
        assert stranger.transport is not None
        stranger.transport.write(b"\0\0\1\0")
        for _ in range(20):
            stranger.transport.write(b"x")
            self.run_for(0.2)
        self.assertTrue(stranger.lost)

    def test_many(self) -> None:
        """
        The number of strangers at once is bounded, and a member still gets in.
        """
        strangers = [self.connect(here=f"host{n}") for n in range(MOST_UNPROVEN + 30)]
        self.assertEqual(len(self.a.links), MOST_UNPROVEN)
        self.assertTrue(strangers[0].lost)
        self.assertFalse(strangers[-1].lost)
        self.peer("b", "a").start()
        self.run_for(0.1)
        self.assertEqual(self.a.told, [("+", "b")])

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.binary(max_size=300), max_size=5), st.booleans())
    def test_garbage(self, pieces: list[bytes], framed: bool) -> None:
        self.setUp()
        with capturedLogs():
            stranger = self.connect()
            assert stranger.transport is not None
            for piece in pieces:
                stranger.transport.write(len(piece).to_bytes(4) + piece if framed else piece)
            self.run_for(HANDSHAKE_TIMEOUT + 0.5)
        self.assertTrue(stranger.lost)
        self.assertEqual(self.a.told, [])

    def test_capture_replayed(self) -> None:
        """
        All bytes that a member has ever sent, sent again by another client.
        """
        captured: list[bytes] = []

        def tap(here: str, there: str, data: bytes) -> bytes:
            if here == "b":
                captured.append(data)
            return data

        self.network.tap = tap
        b = self.peer("b", "a").start()
        self.run_for(0.5)
        b.send("a", {"n": 1})
        self.run_for(0.1)
        self.assertEqual(self.a.messages(), [{"n": 1}])
        b.transport.stop()
        self.run_for(0.1)
        self.a.told.clear()
        self.network.tap = lambda here, there, data: data
        [text] = self.after(b"".join(captured))
        self.assertIn("it has another secret", text)

    def tampered(self, tamper: Callable[[FakeTransport, bytes], bytes]) -> list[str]:
        """
        The lines that are logged when an attacker on the way changes the third message of
        C{b}'s.
        """
        b = self.peer("b", "a").start()
        self.run_for(0.5)
        self.a.told.clear()
        sent = 0

        def tap(here: str, there: str, data: bytes) -> bytes:
            nonlocal sent
            if here != "b":
                return data
            sent += 1
            [end] = [end for end in self.network.connections if end.here == "a"]
            return tamper(end, data) if sent == 3 else data

        self.network.tap = tap
        with capturedLogs() as logs:
            for n in range(5):
                b.send("a", {"n": n})
            self.run_for(0.02)
        self.assertEqual(self.a.messages(), [{"n": 0}, {"n": 1}])
        self.assertIn(("-", "b"), self.a.told)
        return [formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn]

    def test_tampering(self) -> None:
        """
        A changed frame ends the connection; neither it nor any after it is told.
        """
        refusal = "b: refused: a frame that is not the one its peer sent next"

        def flip(end: FakeTransport, data: bytes) -> bytes:
            return data[:6] + bytes([data[6] ^ 1]) + data[7:]

        self.assertEqual(self.tampered(flip), [refusal])

    def test_frame_left_out(self) -> None:
        refusal = "b: refused: a frame that is not the one its peer sent next"
        self.assertEqual(self.tampered(lambda end, data: b""), [refusal])

    def test_reflected(self) -> None:
        """
        A node's own frame, sent back to it.
        """
        own: list[bytes] = []

        def reflect(end: FakeTransport, data: bytes) -> bytes:
            link = self.a.link("b")
            assert link._sealer is not None
            own.append(link._sealer.seal(b"\x80"))
            return own[0]

        self.assertEqual(len(self.tampered(reflect)), 1)

    def test_half_a_frame_of_a_member(self) -> None:
        """
        A frame that does not end ends the connection, though bytes come in.
        """
        b = self.peer("b", "a").start()
        self.run_for(0.5)
        transport = b.link("a").transport
        transport.write((1 << 20).to_bytes(4))
        with capturedLogs() as logs:
            for _ in range(int(FRAME_TIMEOUT) + 1):
                transport.write(b"x")
                self.run_for(1)
        self.assertIn("does not finish a frame", "".join(map(formatEvent, logs)))
