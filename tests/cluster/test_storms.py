"""
Thousands of servers that change at once, on three nodes on a network in memory.
"""

from __future__ import annotations

from typing import Any

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.state import Replicated, encode_state
from alacrity.health.batching import BATCH_SIZE, ProposalBatcher
from alacrity.pool import Change, Pool, Report, Reported, Server, State, TcpCheck
from tests.cluster.test_membership_changes import ClusterCase, Node, address_of
from tests.simulation.older import OlderMachine

SERVERS = 2000


def _pool() -> Pool:
    servers = (
        Server("10.0.0.7", port, TcpCheck(), 1, State.UP, "connected", 1.0, 1.0, port)
        for port in range(1, SERVERS + 1)
    )
    return Pool(SERVERS, {server.id: server for server in servers})


class StormTests(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.pool = _pool()

    def begin(self, older: str = "") -> Node:
        """
        A cluster with many servers.

        @param older: whose program is older.
        @return: its leader, which is not.
        """
        state = encode_state(Replicated(self.pool))
        for name in "abc":
            program = OlderMachine if name in older else None
            self.add(name, "abc", state=state, program=program)
        self.let_lead("a")
        leader = self.leader
        self.run_for(0.5)
        self.assertEqual(leader.view.pool, self.pool)
        return leader

    def break_all(self, leader: Node) -> list[Any]:
        """
        Have a leader's checks find that all servers are down, within one turn.

        @return: where what comes of it is put.
        """
        replica: Any = leader.replica
        batcher = ProposalBatcher(
            replica.propose_as_leader, lambda: replica.format >= 2, self.clock
        )
        outcomes: list[Any] = []
        for id, server in leader.view.pool.servers.items():
            verdict = Report(id, server.revision, State.DOWN, "refused", 9.0)
            batcher.propose(verdict).addBoth(outcomes.append)
        return outcomes

    def agreed(self) -> bool:
        return all(
            {server.state for server in node.view.pool.servers.values()} == {State.DOWN}
            for node in self.nodes.values()
        )

    def test_a_storm(self) -> None:
        """
        It takes a few entries, no election and no time, and no node tells of more at once
        than one entry has.
        """
        leader = self.begin()
        before = leader.status
        most: list[int] = []
        for node in self.nodes.values():
            self.watch(node, most)
        outcomes = self.break_all(leader)
        self.until(self.agreed, 1)
        self.run_for(0.1)
        after = leader.status
        self.assertEqual((after.term, after.leader), (before.term, before.leader))
        self.assertEqual(after.applied_index - before.applied_index, SERVERS // BATCH_SIZE)
        self.assertEqual({type(each) for each in outcomes}, {Reported})
        self.assertEqual(len(outcomes), SERVERS)
        self.assertLessEqual(max(most), BATCH_SIZE)
        self.assertEqual(len({encode_state(n.replica.state) for n in self.nodes.values()}), 1)
        self.assertLessEqual(self.nodes["a"].view.pool.index, SERVERS + SERVERS // BATCH_SIZE)

    def watch(self, node: Node, most: list[int]) -> None:
        """
        Count what is published by a node in one go.
        """
        count = 0

        def changed(_: Change) -> None:
            nonlocal count
            count += 1

        node.view.subscribe(changed)
        replica: Any = node.replica
        show = replica._publisher.show

        def shown(results: Any) -> None:
            nonlocal count
            count = 0
            show(results)
            most.append(count)

        replica._publisher.show = shown

    def test_while_one_node_is_older(self) -> None:
        """
        One by one, so many at a time; no proposal is refused for its number.
        """
        leader = self.begin(older="b")
        self.assertEqual(leader.replica.format, 1)
        before = leader.status
        outcomes = self.break_all(leader)
        self.until(self.agreed, 10)
        self.run_for(0.1)
        self.assertEqual(leader.status.term, before.term)
        self.assertEqual(leader.status.applied_index - before.applied_index, SERVERS)
        self.assertEqual({type(each) for each in outcomes}, {Reported})
        # It is upgraded.
        self.stop("b")
        self.nodes["b"].program = None
        self.nodes["b"].start()
        self.until(
            lambda: all(node.replica.format == NEWEST_FORMAT for node in self.nodes.values())
        )

    def test_an_older_program(self) -> None:
        """
        Once the log has what is new, it gets no connection, and so can neither join nor vote.
        """
        leader = self.begin()
        self.assertEqual({node.replica.format for node in self.nodes.values()}, {NEWEST_FORMAT})
        self.add("d", program=OlderMachine)
        adding = self.settled(leader.replica.add_member(address_of("d")))
        self.failureResultOf(adding, ProposalRefused, OutcomeUnknown)
        self.assertFalse(leader.transport.connected("d"))
        self.stop("b")
        self.nodes["b"].program = OlderMachine
        self.nodes["b"].start()
        self.run_for(3)
        for other in "ac":
            self.assertFalse(self.nodes[other].transport.connected("b"))
        self.assertIn("known here: up to 1", str(self.nodes["b"].status.suspended))
