"""
L{alacrity.cluster.wire.transport}: two nodes, their messages and the loss of connections.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pysyncobj.node import Node
from twisted.internet.error import CannotListenError
from twisted.logger import LogLevel, capturedLogs, formatEvent

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.wire.frames import LONGEST_PAYLOAD
from alacrity.cluster.wire.link import IDLE_TIMEOUT
from alacrity.cluster.wire.sending import MOST_UNSENT
from tests.support.wire_peers import PORT, WireTestCase


class PairTests(WireTestCase):
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
        self.assertEqual(a.transport.understood("b"), 0)

    def test_version_that_a_peer_understands(self) -> None:
        a, _ = self.pair()
        self.assertEqual(a.transport.understood("b"), NEWEST_FORMAT)
        self.assertEqual(a.transport.understood("nobody"), 0)

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
