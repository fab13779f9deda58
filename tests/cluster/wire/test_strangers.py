"""
Nodes that are refused, and clients that do not have the secret.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent

from alacrity.cluster.wire.connections import MOST_UNPROVEN
from alacrity.cluster.wire.link import (
    FRAME_TIMEOUT,
    HANDSHAKE_TIMEOUT,
)
from tests.support.fake_network import FakeTransport
from tests.support.wire_peers import Peer, WireTestCase


class RefusedTests(WireTestCase):
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
        reason = "it wants to connect to 'a', but this node is 'c'"
        with capturedLogs() as logs:
            c.start()
            b.start()
            self.run_for(3)
        self.assertEqual((b.told, c.told), ([("+", "c")], [("+", "b")]))
        texts = [formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn]
        self.assertIn(f'a (a:8688): refused: it refuses: "{reason}"', texts)


class StrangerTests(WireTestCase):
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
        refusal = "b: refused: a frame is not the next one that the peer sent"

        def flip(end: FakeTransport, data: bytes) -> bytes:
            return data[:6] + bytes([data[6] ^ 1]) + data[7:]

        self.assertEqual(self.tampered(flip), [refusal])

    def test_frame_left_out(self) -> None:
        refusal = "b: refused: a frame is not the next one that the peer sent"
        self.assertEqual(self.tampered(lambda end, data: b""), [refusal])

    def test_reflected(self) -> None:
        """
        A node's own frame, sent back to it.
        """
        own: list[bytes] = []

        def reflect(end: FakeTransport, data: bytes) -> bytes:
            link = self.a.link("b")
            assert link._writer is not None
            own.append(link._writer._sealer.seal(b"\x80"))
            return own[0]

        self.assertEqual(len(self.tampered(reflect)), 1)

    def test_half_a_frame_of_a_member(self) -> None:
        """
        A frame that does not end ends the connection, though bytes come in.
        """
        b = self.peer("b", "a").start()
        self.run_for(0.5)
        transport = b.link("a").transport
        transport.write((1 << 16).to_bytes(4))
        with capturedLogs() as logs:
            for _ in range(int(FRAME_TIMEOUT) + 1):
                transport.write(b"x")
                self.run_for(1)
        self.assertIn("does not finish a frame", "".join(map(formatEvent, logs)))
