"""
A node's part in the lending of slots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.lending import KEEPS, SlotHolder
from alacrity.cluster.notes import NoteRefused, NoteUnanswered
from alacrity.node.lending import KIND, LOOK_KIND, SlotBorrower, SlotLender
from alacrity.pool import Change
from alacrity.proxy.upstream.balancer import Balancer
from tests.support.wire import server

NAMES = ("a", "b")
ID = server().id


class Network:
    """
    The notes of all nodes.
    """

    def __init__(self) -> None:
        self.handlers: dict[tuple[str, str], Callable[[str, Any], Any]] = {}
        self.leader: str | None = "a"
        self.format = 2
        self.asked = 0


class Member:
    """
    One node: its cluster, its notes, and its servers.
    """

    def __init__(self, network: Network, name: str, clock: Clock) -> None:
        self.network = network
        self.name = name
        self.waiting = 0
        self.holder = SlotHolder(name, clock.seconds())
        self.balancer = Balancer(cap_of=lambda each: self.holder.limits.get(each.id) or -1)
        self.balancer.changed(Change(None, server()))
        self.lender = SlotLender(self, servers=lambda: [ID], cap_of=lambda id: 6, clock=clock)
        self.lender.lead(self.is_leader)
        self.borrower = SlotBorrower(
            self,
            name,
            self.holder,
            upstreams=self.balancer.upstreams,
            cap_of=lambda each: 6,
            room_changed=self.balancer.room_changed,
            waiting=lambda: self.waiting,
            clock=clock,
        )
        self.borrower.start()

    @property
    def format(self) -> int:
        return self.network.format

    @property
    def is_leader(self) -> bool:
        return self.network.leader == self.name

    @property
    def leader_name(self) -> str | None:
        return self.network.leader

    @property
    def member_names(self) -> tuple[str, ...]:
        return NAMES

    @property
    def notes(self) -> Member:
        return self

    def answer(self, kind: str, handler: Callable[[str, Any], Any]) -> None:
        self.network.handlers[self.name, kind] = handler

    def ask(self, node: str, kind: str, body: Any, *, timeout: float) -> Deferred[Any]:
        self.network.asked += 1
        try:
            return succeed(self.network.handlers[node, kind](self.name, body))
        except NoteUnanswered as error:
            return fail(error)

    def tell(self, node: str, kind: str, body: Any) -> bool:
        self.network.handlers[node, kind](self.name, body)
        return True

    @property
    def cap(self) -> int:
        upstream = self.balancer.upstream(ID)
        assert upstream is not None
        return upstream.cap

    def begin(self, number: int) -> None:
        """Requests begin."""
        upstream = self.balancer.upstream(ID)
        assert upstream is not None
        for _ in range(number):
            upstream.begin(object())


class LendingTests(SynchronousTestCase):
    """
    Two nodes, of which the first leads, and one server with a cap of 6.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network()

    def members(self) -> tuple[Member, Member]:
        one, two = (Member(self.network, name, self.clock) for name in NAMES)
        for each in (one, two):
            self.addCleanup(each.borrower.stop)
        return one, two

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))

    def test_lent(self) -> None:
        """
        Each node gets half, soon; a node that has requests waiting gets the idle ones of the
        other within half a second; where nothing waits, reports are few.
        """
        one, two = self.members()
        self.wait(2.5)
        self.assertEqual((one.cap, two.cap), (3, 3))
        before = self.network.asked
        self.wait(3.0)
        self.assertLessEqual(self.network.asked - before, 8)
        one.begin(3)
        two.begin(1)
        one.waiting = 9
        self.wait(0.5)
        self.assertEqual((one.cap, two.cap), (5, 1))

    def test_no_leader(self) -> None:
        """
        Without a leader, a node keeps what it has, and after a while its share of it.
        """
        one, two = self.members()
        self.wait(2.5)
        one.begin(3)
        one.waiting = 9
        self.wait(0.5)
        self.assertEqual((one.cap, two.cap), (6, -1))
        self.network.leader = None
        one.lender.lead(False)
        self.wait(KEEPS - 1.0)
        self.assertEqual(one.cap, 6)
        self.wait(2.0)
        self.assertEqual((one.cap, two.cap), (3, -1))

    def test_format_1(self) -> None:
        """
        In format 1, each node has its share, and reports nothing.
        """
        self.network.format = 1
        one, two = self.members()
        self.wait(0.2)
        self.assertEqual((one.cap, two.cap, self.network.asked), (3, 3, 0))

    def test_refusals(self) -> None:
        """
        A node that does not lead refuses reports, as the leader does what is no report.
        """
        self.members()
        for node, body in (("b", []), ("a", ["x"]), ("a", {"entries": 1}), ("a", None)):
            with self.assertRaises(NoteRefused):
                self.network.handlers[node, KIND]("a", body)

    def test_new_leader(self) -> None:
        """
        Another leader goes on with what the nodes hold.
        """
        one, two = self.members()
        self.wait(2.5)
        self.network.leader = "b"
        one.lender.lead(False)
        two.lender.lead(True)
        two.waiting = 9
        two.begin(3)
        self.wait(2.0)
        self.assertEqual((one.cap, two.cap), (-1, 6))

    def test_asked_to_look(self) -> None:
        """
        A node that is asked reports at once.
        """
        self.members()
        self.wait(2.5)
        before = self.network.asked
        self.network.handlers["b", LOOK_KIND]("a", None)
        self.assertEqual(self.network.asked, before + 1)
