"""
L{alacrity.cluster.wire.crowding}: who is let go first, when there are too many strangers.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.connections import MOST_UNPROVEN
from alacrity.cluster.wire.crowding import first_to_go, source_of
from alacrity.cluster.wire.handshake import Identity, respond
from alacrity.cluster.wire.link import Link
from tests.support.wire_peers import WireTestCase


def _link(host: str) -> Link:
    handshake = respond((b"s" * 32,), Identity("a", "aa" * 16), lambda peer: None, bytes(32))
    link = Link(Clock(), handshake, lambda *_: None, lambda *_: None, lambda *_: None)
    link.host = host
    return link


class FirstToGoTests(SynchronousTestCase):
    """
    The choice.
    """

    def chosen(self, hosts: list[str], newcomer: str) -> int:
        """
        The number of the connection that is let go.
        """
        links = [_link(host) for host in hosts]
        return links.index(first_to_go(links, newcomer))

    def test_sources(self) -> None:
        """
        An IPv4 address has one source however it is written; an IPv6 one is in a network.
        """
        self.assertEqual(source_of("::ffff:10.0.0.1"), source_of("10.0.0.1"))
        self.assertEqual(source_of("2001:db8::1")[0], source_of("2001:db8:0:0:ffff::2")[0])
        self.assertNotEqual(source_of("2001:db8::1"), source_of("2001:db8::2"))
        self.assertNotEqual(source_of("2001:db8::1")[0], source_of("2001:db8:0:1::1")[0])
        self.assertEqual(source_of("fe80::1%eth0")[0], source_of("fe80::2")[0])
        self.assertEqual(source_of("/run/socket"), ("/run/socket", "/run/socket"))

    def test_choice(self) -> None:
        a, b, c = "10.0.0.1", "10.0.0.2", "10.0.0.3"
        for hosts, newcomer, chosen in (
            # All alike: the oldest.
            ([a, b, c], "10.0.0.4", 0),
            # The busiest address, however it is written.
            ([a, b, b], c, 1),
            ([a, b, "::ffff:10.0.0.2"], c, 1),
            ([a, "::ffff:10.0.0.2", b], c, 1),
            # The newcomer counts.
            ([a, b, c], c, 2),
            ([a, a, b, b], b, 2),
            # The busiest network, and in it the busiest address.
            ([a, "2001:db8::1", "2001:db8::2"], b, 1),
            (["2001:db8::1", "2001:db8::2", "2001:db8::2", a, a], b, 1),
            ([a, a, "2001:db8::1", "2001:db8::2", "2001:db8::3"], b, 2),
        ):
            with self.subTest(hosts=hosts, newcomer=newcomer):
                self.assertEqual(self.chosen(hosts, newcomer), chosen)

    @given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "2001:db8::1"]), min_size=2))
    def test_one_alone_stays(self, others: list[str]) -> None:
        """
        The only connection of an address stays, while another network has more.
        """
        busiest = max(map(others.count, others))
        for place in (0, len(others)):
            hosts = [*others[:place], "10.9.9.9", *others[place:]]
            if busiest > 1:
                self.assertNotEqual(self.chosen(hosts, "10.0.0.1"), place)


class FloodTests(WireTestCase):
    """
    A node under a flood of connections that never finish the handshake.
    """

    def setUp(self) -> None:
        super().setUp()
        self.a = self.peer("a").start()

    def test_a_slow_member_is_let_in(self) -> None:
        """
        A member whose handshake takes a while is let in, though hundreds of others connect
        meanwhile from one address, or from one network.
        """
        for attackers in ("10.6.6.6", "2001:db8::{}", "::ffff:10.6.6.6"):
            with self.subTest(attackers):
                self.setUp()
                self.network.delay = lambda here, there: 0.3 if "b" in (here, there) else 0.001
                self.peer("b", "a").start()
                with capturedLogs():
                    for n in range(4 * MOST_UNPROVEN):
                        self.connect(here=attackers.format(f"{n:x}"))
                        self.assertLessEqual(len(self.a.links), MOST_UNPROVEN + 1)
                self.assertEqual(self.a.told, [("+", "b")])

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1 << 30))
    def test_bounded(self, seed: int) -> None:
        """
        There are never more than the limit, and each source that has few keeps them.
        """
        self.setUp()
        rng = Random(seed)
        with capturedLogs():
            quiet = [self.connect(here=f"10.1.1.{n}") for n in range(5)]
            for _ in range(100):
                self.connect(here=f"10.2.2.{rng.randrange(3)}")
                self.assertLessEqual(len(self.a.links), MOST_UNPROVEN)
        self.assertFalse(any(each.lost for each in quiet))
