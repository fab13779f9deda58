"""
L{alacrity.cluster.wire.link}: the phases of one connection. What links do between nodes,
L{tests.cluster.wire.test_transport} says.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.duplicates import copy_refusal, older_stays
from alacrity.cluster.wire.handshake import Identity, initiate, respond
from alacrity.cluster.wire.link import (
    HANDSHAKE_TIMEOUT,
    IDLE_TIMEOUT,
    STABLE_AFTER,
    Link,
    LinkPhase,
)
from alacrity.cluster.wire.links import LinkTable

SECRET = b"s" * 32
A = Identity("a", "aa" * 16)
B = Identity("b", "bb" * 16)


class _Transport(StringTransport):
    """
    A transport that records how it is ended.
    """

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.ended = ""

    def getPeer(self) -> Any:
        return self

    def loseConnection(self) -> None:
        self.ended += "lost "

    def abortConnection(self) -> None:
        self.ended += "aborted "


class LinkTestCase(SynchronousTestCase):
    """
    Links, and transports for them.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.payloads: list[bytes] = []
        self.lost: list[str | None] = []

    def link(self, target: str | None) -> Link:
        """
        A link without a connection.
        """
        if target is None:
            handshake = respond((SECRET,), A, lambda peer: None, b"r" * 32)
        else:
            handshake = initiate(SECRET, B, target, lambda peer: None, b"i" * 32)
        return Link(
            self.clock,
            handshake,
            lambda link, session: None,
            lambda link, payload: self.payloads.append(payload),
            lambda link, reason: self.lost.append(reason),
            target,
        )

    def connect(self, link: Link, host: str = "there") -> _Transport:
        transport = _Transport(host)
        link.makeConnection(transport)
        return transport

    def deliver(self, a: Link, b: Link) -> None:
        """
        Give each link the bytes that the other has written, until there are no more.
        """
        while a.transport.value() or b.transport.value():
            for one, other in ((a, b), (b, a)):
                data = one.transport.value()
                one.transport.clear()
                other.dataReceived(data)

    def established(self) -> tuple[Link, Link]:
        """
        Both ends of a connection that b has made to a.
        """
        a, b = self.link(None), self.link("a")
        self.connect(a)
        self.connect(b)
        self.deliver(a, b)
        return a, b


class PhaseTests(LinkTestCase):
    """
    L{LinkPhase}.
    """

    def test_life(self) -> None:
        a, b = self.link(None), self.link("a")
        self.assertEqual(repr(a), "<Link from ?: new>")
        self.connect(a)
        self.connect(b, "10.0.0.1")
        self.assertEqual(repr(a), "<Link from there: handshake>")
        self.assertEqual(repr(b), "<Link to a at 10.0.0.1: handshake>")
        self.assertEqual((a.outgoing, a.peer, b.outgoing, b.peer), (False, None, True, "a"))
        self.assertFalse(a.send(b"too early"))
        self.deliver(a, b)
        self.assertEqual((a.phase, b.phase), (LinkPhase.ESTABLISHED, LinkPhase.ESTABLISHED))
        self.assertEqual((a.peer, b.peer), ("b", "a"))
        self.assertTrue(a.send(b"payload"))
        self.deliver(a, b)
        self.assertEqual(self.payloads, [b"payload"])
        a.close(flush=True)
        self.assertEqual((a.phase, a.transport.ended), (LinkPhase.CLOSING, "lost "))
        self.assertTrue(a.closed)
        self.assertFalse(a.send(b"too late"))
        a.connectionLost()
        self.assertEqual(a.phase, LinkPhase.CLOSED)
        a.abort()
        self.assertEqual(a.phase, LinkPhase.CLOSED)
        self.assertEqual(self.lost, [None])

    def test_fails_once(self) -> None:
        """
        The first reason counts, and is told once the connection is over.
        """
        a, _ = self.established()
        a.fail("one")
        a.fail("another")
        self.assertEqual(self.lost, [])
        a.connectionLost()
        self.assertEqual(self.lost, ["one"])

    def test_flushed_in_the_middle_of_a_payload(self) -> None:
        """
        A long payload that is being sent in pieces arrives, though the link is closed.
        """
        a, b = self.established()
        payload = bytes(range(256)) * 4096
        self.assertTrue(a.send(payload))
        a.close(flush=True)
        self.deliver(a, b)
        self.assertEqual(self.payloads, [payload])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed_before_it_is_connected(self) -> None:
        link = self.link("a")
        link.close()
        self.connect(link)
        self.assertEqual(link.phase, LinkPhase.CLOSING)
        link.dataReceived(b"x" * 100)
        self.clock.advance(HANDSHAKE_TIMEOUT + 0.1)
        link.check_deadlines()
        self.assertEqual(link.transport.ended, "aborted ")

    def test_last_bytes_that_do_not_arrive(self) -> None:
        a, _ = self.established()
        a.close(flush=True)
        self.clock.advance(HANDSHAKE_TIMEOUT + 0.1)
        a.check_deadlines()
        self.assertEqual(a.transport.ended, "lost aborted ")


class TableTests(LinkTestCase):
    """
    L{LinkTable}.
    """

    def test_in_use(self) -> None:
        table = LinkTable()
        link, other = self.link(None), self.link("a")
        self.connect(link)
        self.connect(other)
        table.add(link)
        table.add(other)
        self.assertEqual((table.unproven(), table.made_to("a")), ([link], [other]))
        self.assertIsNone(table.in_use("b"))
        table.use("b", link)
        self.assertIs(table.in_use("b"), link)
        self.clock.advance(3)
        link.dataReceived(b"")
        self.assertEqual(table.last_received("b"), 3)
        table.disuse("b", remember=True)
        self.assertEqual((table.in_use("b"), table.last_received("b")), (None, 3))
        table.forget("b")
        self.assertIsNone(table.last_received("b"))

    def test_when_empty(self) -> None:
        table = LinkTable()
        self.successResultOf(table.when_empty())
        link = self.link(None)
        table.add(link)
        empty = table.when_empty()
        self.assertNoResult(empty)
        self.assertTrue(table.remove(link))
        self.successResultOf(empty)
        self.assertFalse(table.remove(link))


class DuplicateTests(LinkTestCase):
    """
    L{older_stays} and L{copy_refusal}.
    """

    def test_which_stays(self) -> None:
        """
        If each side made one, that of the greater name stays; else the newer.
        """
        for older, newer, greater, stays in (
            (None, "a", True, False),
            (None, "a", False, True),
            ("a", None, True, True),
            ("a", None, False, False),
            ("a", "a", True, False),
            (None, None, False, False),
        ):
            links = self.link(older), self.link(newer)
            self.assertEqual(older_stays(*links, greater=greater, now=0.0), stays)
            self.assertFalse(older_stays(*links, greater=greater, now=IDLE_TIMEOUT + 0.1))

    def test_copy(self) -> None:
        a, b = self.established()
        stranger = self.link(None)
        self.connect(stranger, "elsewhere")
        reason = copy_refusal(B, a, stranger, 0.0)
        assert reason is not None
        self.assertIn("'b' is connected from there already, with the same files", reason)
        same_host = self.link(None)
        self.connect(same_host)
        for peer, older, newer, now in (
            (B, None, stranger, 0.0),
            (B, a, same_host, 0.0),
            (Identity("b", "cc" * 16), a, stranger, 0.0),
            (B, a, stranger, IDLE_TIMEOUT + 0.1),
            # Both sides have connected at once.
            (A, b, stranger, STABLE_AFTER - 1.9),
        ):
            self.assertIsNone(copy_refusal(peer, older, newer, now))
