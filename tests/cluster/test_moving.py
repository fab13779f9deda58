"""
Members whose addresses change, with replicas on a network in memory; and L{AddressWatch}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.moving import AddressWatch
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from tests.cluster.test_membership_changes import ClusterCase

A, B = Member("a", "a:1"), Member("b", "b:1")


class WatchTests(SynchronousTestCase):
    """
    A leader whose proposals end as the test says.
    """

    def setUp(self) -> None:
        self.greeted = {"b": "b:1"}
        self.moves: list[tuple[str, str]] = []
        self.pending: Deferred[None] = Deferred()
        self.watch = AddressWatch(A, lambda name: self.greeted.get(name, ""), self._move, self.fail)

    async def _move(self, name: str, address: str) -> None:
        self.moves.append((name, address))
        await self.pending

    def end(self, result: Any = None) -> str:
        """End the proposal, and return what is logged."""
        pending, self.pending = self.pending, Deferred()
        with capturedLogs() as logs:
            if result is None:
                pending.callback(None)
            else:
                pending.errback(result)
        return "".join(str(formatEvent(each)) for each in logs)

    def test_nothing_has_changed(self) -> None:
        """
        Nor is a node that has not greeted, or that says no address, moved.
        """
        self.watch.maybe_propose((A, B, Member("c", "c:1")))
        self.greeted = {"b": ""}
        self.watch.maybe_propose((A, B))
        self.assertEqual(self.moves, [])

    def test_another_has_moved(self) -> None:
        """
        One change at a time is proposed.
        """
        self.greeted = {"b": "b:2", "c": "c:2"}
        members = (A, B, Member("c", "c:1"))
        self.watch.maybe_propose(members)
        self.watch.maybe_propose(members)
        self.assertEqual(self.moves, [("b", "b:2")])
        self.assertEqual(self.end(), "the address of b was b:1, and is now b:2")
        self.watch.maybe_propose((A, Member("b", "b:2"), Member("c", "c:1")))
        self.assertEqual(self.moves, [("b", "b:2"), ("c", "c:2")])

    def test_this_node_has_moved(self) -> None:
        """
        The leader knows its own address.
        """
        self.watch.maybe_propose((Member("a", "before:1"), B))
        self.assertEqual(self.moves, [("a", "a:1")])

    def test_refused(self) -> None:
        """
        What is refused is not proposed again, but another address is; what is uncertain is.
        """
        self.greeted = {"b": "b:2"}
        self.watch.maybe_propose((A, B))
        self.assertIn("cannot be changed from b:1 to b:2: no", self.end(ProposalRefused("no")))
        self.watch.maybe_propose((A, B))
        self.assertEqual(len(self.moves), 1)
        self.greeted = {"b": "b:3"}
        self.watch.maybe_propose((A, B))
        self.assertEqual(self.end(OutcomeUnknown("late")), "")
        self.watch.maybe_propose((A, B))
        self.assertEqual(self.moves, [("b", "b:2"), ("b", "b:3"), ("b", "b:3")])


class MovedTests(ClusterCase):
    """
    Clusters of which nodes move.
    """

    def addresses(self, by: str) -> dict[str, str]:
        """The addresses of the members, as a node sees them."""
        return {each.name: each.address for each in self.nodes[by].status.members}

    def until_known(self, name: str, address: str) -> None:
        """Wait until all nodes know the address of a member."""
        self.until(lambda: all(self.addresses(by)[name] == address for by in "abc"))

    def test_one(self) -> None:
        """
        A node starts again at another address. All nodes learn it, and reach it there; it is the
        same member, with its log.
        """
        self.cluster("abc", "a")
        for name in "ca":
            self.stop(name)
            node = self.nodes[name]
            node.host = f"{name}2"
            node.start()
            self.until_known(name, f"{name}2:8688")
            self.run_for(2)
        names = {each.name for each in self.leader.replica._engine.configuration}
        self.assertEqual(names, set("abc"))
        # Those that stay make the connection to it, too.
        self.stop("b")
        self.nodes["b"].start()
        self.until(lambda: self.nodes["b"].status.has_quorum)
        self.run_for(3)
        self.assertTrue(self.nodes["b"].transport.connected("a"))
        self.assertTrue(self.nodes["b"].transport.connected("c"))

    def test_all(self) -> None:
        """
        All nodes start again at other addresses, which their configuration has.
        """
        self.cluster("abc", "a")
        for name in "abc":
            self.stop(name)
        for name in "abc":
            node = self.nodes[name]
            node.host = f"{name}2"
            node.elsewhere = {each: f"{each}2:8688" for each in "abc"}
            node.start()
        self.assertIsNotNone(self.leader)
        self.until(
            lambda: all(
                self.addresses(by) == {each: f"{each}2:8688" for each in "abc"} for by in "abc"
            )
        )

    def test_taken(self) -> None:
        """
        The address of another member is refused, and so is a member that does not exist.
        """
        self.cluster("abc", "a")
        replica = self.nodes["a"].replica
        for name, address, why in (
            ("b", "c:8688", "c:8688 is the address of c"),
            ("d", "d:8688", "there is no member d"),
        ):
            failure = self.failureResultOf(
                self.settled(replica.move_member(name, address)), ProposalRefused
            )
            self.assertIn(why, failure.getErrorMessage())
