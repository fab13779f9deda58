"""
The change of the cluster's secret while nodes are connected.
"""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent

from tests.support.wire_peers import Peer, WireTestCase

OLD, NEW = b"o" * 32, b"n" * 32


class RotationTests(WireTestCase):
    def cluster(self, *secrets: bytes) -> list[Peer]:
        """
        Three nodes, connected.
        """
        names = "abc"
        peers = [self.peer(n, names.replace(n, ""), secrets=secrets).start() for n in names]
        self.run_for(2)
        for peer in peers:
            peer.told.clear()
        return peers

    def test_three_steps(self) -> None:
        """
        The new secret is added everywhere, made the first everywhere, and left alone
        everywhere. Connections stay, until their secret is gone: then they are made anew, within
        half a second, with the new one.
        """
        peers = self.cluster(OLD)
        with capturedLogs() as logs:
            for secrets in ((OLD, NEW), (NEW, OLD)):
                for peer in peers:
                    peer.transport.replace_secrets(secrets)
                    self.run_for(1)
                self.assertEqual([peer.told for peer in peers], [[], [], []])
            for peer in peers:
                peer.transport.replace_secrets((NEW,))
                self.run_for(1.5)
                for one in peers:
                    for other in set("abc") - {one.name}:
                        self.assertTrue(one.transport.connected(other))
        for one in peers:
            for other in set("abc") - {one.name}:
                session = one.link(other).session
                assert session is not None
                self.assertEqual(session.secret, NEW)
                self.assertEqual(
                    [sign for sign, name in one.told if name == other], ["-", "+"], one.told
                )
        self.assertEqual([formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn], [])

    def test_short_gap(self) -> None:
        """
        A connection that is made anew is missing for less than half a heartbeat timeout, if the
        node with the greater name makes it.
        """
        peers = self.cluster(OLD, NEW)
        for peer in peers:
            peer.transport.replace_secrets((NEW, OLD))
        peers[0].transport.replace_secrets((NEW,))
        gone = 0
        for _ in range(100):
            self.run_for(0.01)
            gone += not all(peers[0].transport.connected(name) for name in "bc")
        self.assertTrue(0 < gone <= 30, gone)

    def test_messages_of_before(self) -> None:
        """
        What was sent before the connection is made anew arrives.
        """
        a, b, _ = self.cluster(OLD, NEW)
        self.network.delay = lambda here, there: 0.05
        a.transport.replace_secrets((NEW,))
        sent = 0
        while a.send("b", {"n": sent}):
            sent += 1
            self.run_for(0.01)
            self.assertLess(sent, 100)
        self.run_for(2)
        self.assertEqual(b.messages(), [{"n": n} for n in range(sent)])
        self.assertTrue(a.transport.connected("b"))

    def test_a_peer_that_hears_nothing(self) -> None:
        """
        The end of the connection is told at once, though the last bytes cannot be delivered.
        """
        a, *_ = self.cluster(OLD, NEW)
        self.network.cut("a", "b")
        a.send("b", {"n": 1})
        a.transport.replace_secrets((NEW,))
        self.run_for(0.3)
        self.assertIn(("-", "b"), a.told)
        self.assertFalse(a.transport.connected("b"))

    def test_a_handshake_during_the_change(self) -> None:
        """
        A handshake that began with a secret that is gone when it ends makes no connection.
        """
        a, b = self.peer("a", "b", secrets=(OLD, NEW)), self.peer("b", "a", secrets=(OLD,))
        self.network.delay = lambda here, there: 0.05
        a.start()
        b.start()
        self.run_for(0.15)
        a.transport.replace_secrets((NEW,))
        with capturedLogs():
            self.run_for(2)
        self.assertFalse(a.transport.connected("b"))
        self.assertNotIn(("+", "b"), a.told)

    def test_a_node_that_was_forgotten(self) -> None:
        """
        A node that was not given the new secret is refused once the old one is gone, with one
        line in each log; it is connected again once it has it.
        """
        a, b, c = self.cluster(OLD)
        with capturedLogs() as logs:
            for peer in (a, b):
                for secrets in ((OLD, NEW), (NEW, OLD), (NEW,)):
                    peer.transport.replace_secrets(secrets)
            self.run_for(10)
        self.assertTrue(a.transport.connected("b"))
        self.assertFalse(a.transport.connected("c"))
        self.assertFalse(c.transport.connected("b"))
        texts = [formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn]
        self.assertTrue(all("it has another secret" in text for text in texts), texts)
        self.assertLessEqual(len(texts), 8)
        c.transport.replace_secrets((NEW,))
        self.run_for(2)
        self.assertTrue(c.transport.connected("a"))
        self.assertTrue(c.transport.connected("b"))
