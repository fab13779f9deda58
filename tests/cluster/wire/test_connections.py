"""
L{alacrity.cluster.wire.connections}: which node connects, and faults of one connection.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from pysyncobj.node import Node
from twisted.logger import LogLevel, capturedLogs, formatEvent

from alacrity.cluster.wire.handshake import Identity, respond
from alacrity.cluster.wire.keys import KEY_SIZE
from alacrity.cluster.wire.link import (
    HANDSHAKE_TIMEOUT,
    IDLE_TIMEOUT,
)
from tests.support.wire_peers import SECRET, Peer, WireTestCase


class WhoConnectsTests(WireTestCase):
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
        made stays, and is the only one that is used.
        """
        a, b = self.both_connect(0.01, 0)
        self.run_for(3)
        self.assertEqual((a.told, b.told), ([("+", "b")], [("+", "a")]))
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


class FaultTests(WireTestCase):
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
            respond((SECRET,), Identity("a", "1" * 32), lambda peer: None, bytes(KEY_SIZE)), None
        )
        self.run_for(HANDSHAKE_TIMEOUT + 0.5)
        self.assertTrue(link.closed)
        self.a.told.clear()
        self.network.cut("c", "a")
        self.run_for(IDLE_TIMEOUT + 0.5)
        self.assertEqual(self.a.told, [("-", "c")])


class StallTests(WireTestCase):
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
