"""
L{alacrity.cluster.wire.introductions} and L{alacrity.cluster.wire.greeting}: nodes that greet
each other before their connection is used.
"""

from __future__ import annotations

from unittest import mock

import msgspec
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.greeting import (
    Greeting,
    MalformedGreeting,
    Refusal,
    Welcome,
    decode_greeting,
    encode_greeting,
    is_greeting,
)
from alacrity.cluster.wire.link import HANDSHAKE_TIMEOUT, LinkPhase
from alacrity.cluster.wire.payloads import encode_message
from tests.support.wire_peers import Peer, WireTestCase

ONE, OTHER = "1" * 16, "2" * 16


class GreetingTests(SynchronousTestCase):
    """
    The payloads.
    """

    def test_round_trip(self) -> None:
        """
        They differ from messages, and are read as they were written.
        """
        for said in (Greeting("a", ONE, True, False, ("a", "b"), "a:1"), Welcome(), Refusal("no")):
            payload = encode_greeting(said)
            self.assertTrue(is_greeting(payload))
            self.assertEqual(decode_greeting(payload), said)
        self.assertFalse(is_greeting(encode_message({"type": "greeting"})))
        self.assertFalse(is_greeting(b""))

    def test_more_fields(self) -> None:
        """
        A later program may say more.
        """
        mark = encode_greeting(Welcome())[: -len(msgspec.msgpack.encode(Welcome()))]
        payload = mark + msgspec.msgpack.encode({"type": "greeting", "name": "a", "later": 1})
        self.assertEqual(decode_greeting(payload), Greeting("a"))

    def test_malformed(self) -> None:
        """
        Anything else is refused.
        """
        mark = encode_greeting(Welcome())[: -len(msgspec.msgpack.encode(Welcome()))]
        for rest in (b"", b"\x80", b"\x81\xa4type\xa1x", b"\xc1", b"\x91" * 5000):
            self.assertRaises(MalformedGreeting, decode_greeting, mark + rest)

    def test_a_long_reason(self) -> None:
        """
        A reason is cut.
        """
        said = decode_greeting(encode_greeting(Refusal("x" * 5000)))
        assert isinstance(said, Refusal)
        self.assertEqual(len(said.reason), 1024)


class IntroductionTests(WireTestCase):
    """
    Two nodes on a network in memory.
    """

    def two(self, one: Greeting, other: Greeting) -> tuple[Peer, Peer]:
        """
        Two nodes that say this; which have had time to connect.
        """
        a, b = self.peer("a", "b"), self.peer("b", "a")
        a.greeting, b.greeting = one, other
        with capturedLogs() as logs:
            a.start()
            b.start()
            self.run_for(3)
        self.warnings = {formatEvent(e) for e in logs if e["log_level"] is LogLevel.warn}
        return a, b

    def test_they_know_each_other(self) -> None:
        """
        What a node says is known on the other side, and what it says later as well.
        """
        a, b = self.two(Greeting("a", ONE), Greeting("b", ONE))
        self.assertEqual(a.transport.greeting("b"), b.greeting)
        self.assertEqual(b.transport.greeting("a"), a.greeting)
        self.assertIsNone(a.transport.greeting("c"))
        b.greeting = Greeting("b", ONE, has_entries=True)
        b.transport.greet_again()
        self.run_for(0.1)
        self.assertEqual(a.transport.greeting("b"), b.greeting)
        self.assertEqual((a.told, b.told), ([("+", "b")], [("+", "a")]))
        self.assertIsNone(a.transport.fault("b"))

    def test_another_cluster(self) -> None:
        """
        Nodes of two clusters refuse each other, and both say why.
        """
        a, b = self.two(Greeting("a", ONE), Greeting("b", OTHER))
        self.assertEqual((a.told, b.told), ([], []))
        for each, name in ((a, "b"), (b, "a")):
            self.assertIn("belongs to another cluster", str(each.transport.fault(name)))
            self.assertFalse(each.transport.connected(name))
        self.assertLessEqual(len(self.warnings), 4)

    def test_another_cluster_later(self) -> None:
        """
        A node that gets another id is refused from then on.
        """
        a, b = self.two(Greeting("a"), Greeting("b"))
        a.greeting = Greeting("a", ONE)
        a.transport.greet_again()
        self.run_for(0.1)
        self.assertEqual(b.told, [("+", "a")])
        b.greeting = Greeting("b", OTHER)
        with capturedLogs():
            b.transport.greet_again()
            self.run_for(1)
        self.assertEqual((a.told[1:], b.told[1:]), ([("-", "b")], [("-", "a")]))

    def test_one_side_refuses(self) -> None:
        """
        If only one side refuses, the other does not use the connection either.
        """
        a, b = self.peer("a", strangers="b"), self.peer("b", "a")
        with capturedLogs():
            a.start()
            b.start()
            self.run_for(3)
        self.assertEqual((a.told, b.told), ([], []))
        self.assertIn("it refuses: \"'b' is not a member", str(b.transport.fault("a")))

    def test_no_greeting(self) -> None:
        """
        A node that does not greet in time is given up, and one that sends a message before.
        """
        a, b = self.peer("a").start(), self.peer("b", "a")
        mute = a.transport._connections._introductions
        with (
            mock.patch.object(mute, "begin", return_value=False),
            mock.patch.object(mute, "hear", return_value=False),
            capturedLogs() as logs,
        ):
            b.start()
            self.run_for(HANDSHAKE_TIMEOUT + 1)
            self.assertIn("does not greet", "".join(map(formatEvent, logs)))
            self.run_for(0.5)
            [link] = [each for each in a.links if each.phase is LinkPhase.ESTABLISHED]
            link.send(encode_message({"n": 1}))
            self.run_for(0.1)
        self.assertIn("a message before its greeting", "".join(map(formatEvent, logs)))
        self.assertEqual(b.told, [])
        with capturedLogs():
            self.run_for(3)
        self.assertEqual(b.told, [("+", "a")])

    def test_a_stall(self) -> None:
        """
        The time in which this process did not run does not count.
        """
        a, b = self.peer("a").start(), self.peer("b", "a")
        mute = a.transport._connections._introductions
        with (
            mock.patch.object(mute, "begin", return_value=False),
            mock.patch.object(mute, "hear", return_value=False),
            capturedLogs() as logs,
        ):
            b.start()
            self.run_for(HANDSHAKE_TIMEOUT - 1)
            self.clock.advance(1.5)
            self.run_for(0.5)
            self.assertNotIn("does not greet", "".join(map(formatEvent, logs)))
            self.run_for(1)
            self.assertIn("does not greet", "".join(map(formatEvent, logs)))

    def test_a_welcome_before_a_greeting(self) -> None:
        """
        Is a fault.
        """
        a, b = self.pair()
        link = a.link("b")
        b.transport._connections._introductions.forget(b.link("a"))
        with capturedLogs() as logs:
            link.send(encode_greeting(Welcome()))
            self.run_for(0.1)
        self.assertIn("a welcome before its greeting", "".join(map(formatEvent, logs)))

    def test_a_broken_greeting(self) -> None:
        """
        Ends the connection.
        """
        a, b = self.pair()
        with capturedLogs() as logs:
            a.link("b").send(encode_greeting(Welcome())[:-3])
            self.run_for(0.1)
        self.assertIn("a greeting that cannot be decoded", "".join(map(formatEvent, logs)))
        self.assertEqual(b.told, [("-", "a")])
