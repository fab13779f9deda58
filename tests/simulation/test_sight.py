"""
L{tests.simulation.sight}: each of its invariants notices what violates it.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import Condition, Pool, Server, State, TcpCheck
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.sight import INVARIANTS, Sight
from tests.simulation.world import World

NAMES = ("n1", "n2", "n3")


class FakeNode:
    def __init__(self, name: str, *, leads: bool) -> None:
        self.name = name
        self.leads = leads
        self.pool = Pool()


class SightTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(1)
        self.ledger = RaftLedger(self.world)
        self.nodes = [FakeNode(name, leads=name == "n1") for name in NAMES]
        self.sight = Sight(self.world, self.ledger, self.running, NAMES, 2)
        self.states = {1: State.UP, 2: State.UP}
        self.disputed: set[int] = set()
        self.sight._is_constant = self.sight._is_peace = True

    def running(self) -> list[Any]:
        return list(self.nodes)

    def observe(self, **how: bool) -> str:
        """
        @return: the invariant that is violated; empty: none is.
        """
        servers = [
            Server(
                *("10.0.0.5", port, TcpCheck(), 1, state, "so", 1.0, 1.0, port),
                condition=Condition(disputed=port in self.disputed),
            )
            for port, state in self.states.items()
        ]
        for node in self.nodes:
            node.pool = Pool(9, {each.id: each for each in servers})
        self.sight._observe(lambda: bool(self.ledger.violations), 0.0, **how)
        violation = next(iter(self.ledger.violations), "")
        if violation:
            self.assertIn(violation.partition(":")[0], INVARIANTS)
        return violation.partition(":")[0]

    def test_all_is_well(self) -> None:
        self.assertEqual(self.observe(), "")

    def test_down_though_a_majority_reaches_it(self) -> None:
        self.sight._cut["n1"] = {1, 2}
        self.states[1] = State.DOWN
        self.assertEqual(self.observe(), "reached is up")

    def test_up_though_none_reaches_it(self) -> None:
        self.sight._dead = {1}
        self.assertEqual(self.observe(), "unreached is down")

    def test_down_where_a_minority_reaches_it(self) -> None:
        self.sight._cut = {"n1": {1}, "n2": {1}, "n3": set()}
        self.states[1] = State.DOWN
        self.assertEqual(self.observe(), "")

    def test_in_dispute_though_the_leader_reaches_it(self) -> None:
        self.disputed = {2}
        self.assertEqual(self.observe(), "disputes end")

    def test_a_leader_that_sees_less(self) -> None:
        self.sight._cut["n1"] = {1}
        self.disputed = {1}
        self.assertEqual(self.observe(), "leader sees")

    def test_a_leader_that_sees_other_servers(self) -> None:
        self.sight._cut = {"n1": {1}, "n2": {2}, "n3": {1, 2}}
        self.disputed = {1}
        self.assertEqual(self.observe(), "")

    def test_hand_overs_too_soon_after_each_other(self) -> None:
        self.sight.moves("n1", "n2")
        self.world.now += 5.0
        self.sight.moves("n2", "n3")
        self.assertTrue(self.ledger.violations[0].startswith("leadership rests"))

    def test_a_hand_over_back_of_a_leader_that_has_lost_sight(self) -> None:
        self.sight._is_constant = False
        self.sight.moves("n1", "n2")
        self.world.now += 100.0
        self.sight.moves("n2", "n1")
        self.assertEqual(self.ledger.violations, [])

    def test_a_hand_over_back(self) -> None:
        self.sight.moves("n1", "n2")
        self.world.now += 100.0
        self.sight.moves("n2", "n3")
        self.assertEqual(self.ledger.violations, [])
        self.world.now += 100.0
        self.sight.moves("n3", "n1")
        self.assertTrue(self.ledger.violations[0].startswith("leadership rests"))
