"""
L{alacrity.node.witnesses}: second opinions by notes.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.notes import NoteRefused, NoteUnanswered
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.health.checks import Checks, Verdict
from alacrity.health.witness import Witness
from alacrity.node.witnesses import HAND_OVER_ATTEMPTS, HANDED_OVER_KIND, KIND, NodeWitnesses
from alacrity.pool import Check, Register, Server, TcpCheck
from tests.simulation.clock import patched, use
from tests.simulation.network import Network
from tests.simulation.nodes import Node
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.world import World

NAMES = ("a", "b", "c")


class ClusterTests(SynchronousTestCase):
    """
    A cluster in the simulation, whose nodes are witnesses.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        network = Network(self.world)
        ledger = RaftLedger(self.world)
        self.nodes = {
            name: Node(self.world, network, ledger, name, NAMES, ReplicaSettings())
            for name in NAMES
        }
        self.witnesses: dict[str, NodeWitnesses] = {}
        # By node, the ports that it reaches.
        self.reaches: dict[str, set[int]] = {name: set() for name in NAMES}
        for name, node in self.nodes.items():
            node.start()
            self.witnesses[name] = self.make(name, node)
        self.run_for(5.0)
        (self.leader,) = [name for name, node in self.nodes.items() if node.leads]
        self.others = [name for name in NAMES if name != self.leader]
        self.servers = [self.register(port) for port in (1, 2, 3)]

    def make(self, name: str, node: Node, *, are_asked: bool = True) -> NodeWitnesses:
        def check(server: Server, check: Check, timeout: float) -> Deferred[Verdict]:
            passed = server.port in self.reaches[name]
            return succeed(Verdict(passed=passed, reason="so it is"))

        witness = Witness(node.view, Checks(tcp=check, http=check), 100)
        assert node.replica is not None
        return NodeWitnesses(node.replica, name, witness, are_asked=are_asked, clock=node.time)

    def run_for(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    def register(self, port: int) -> Server:
        node = self.nodes[self.leader]
        node.propose(Register("10.0.0.7", port, TcpCheck(), 1, self.world.now), f"r{port}")
        self.run_for(1.0)
        return node.view.pool.servers[f"10.0.0.7:{port}"]

    def ask(self, name: str, *servers: Server) -> Deferred[dict[str, bool]]:
        asked = self.witnesses[self.leader].ask(name, servers or self.servers, 1.0)
        self.run_for(0.5)
        return asked

    def test_who_is_asked(self) -> None:
        self.assertEqual(sorted(self.witnesses[self.leader].others), self.others)

    def test_nobody_where_the_configuration_says_so(self) -> None:
        node = self.nodes[self.leader]
        assert node.replica is not None
        node.replica.notes._handlers.clear()
        self.assertEqual(self.make(self.leader, node, are_asked=False).others, [])

    def test_nobody_before_all_understand_notes(self) -> None:
        node = self.nodes[self.leader]
        replica = node.replica
        assert replica is not None

        own, move = replica.notes, replica.hand_over

        class Old:
            format = 1
            is_leader = True
            member_names = NAMES
            notes = own
            hand_over = move

        replica.notes._handlers.clear()
        witness = Witness(node.view, Checks(tcp=None, http=None), 1)  # type: ignore[arg-type]
        witnesses = NodeWitnesses(Old(), "a", witness, are_asked=True, clock=node.time)
        self.assertEqual(witnesses.others, [])

    def test_an_answer_by_the_members_own_checks(self) -> None:
        one, two = self.others
        self.reaches[one] = {2}
        self.reaches[two] = {1, 3}
        ids = [each.id for each in self.servers]
        expected = dict(zip(ids, (False, True, False), strict=True))
        self.assertEqual(self.successResultOf(self.ask(one)), expected)
        expected = dict(zip(ids, (True, False, True), strict=True))
        self.assertEqual(self.successResultOf(self.ask(two)), expected)

    def test_of_an_earlier_registration_nothing_is_told(self) -> None:
        old = self.servers[0]
        self.reaches[self.others[0]] = {1, 2}
        new = self.register(1)
        if new.revision == old.revision:
            node = self.nodes[self.leader]
            node.propose(Register("10.0.0.7", 1, TcpCheck(), 2, self.world.now), "again")
            self.run_for(1.0)
        self.assertEqual(
            self.successResultOf(self.ask(self.others[0], old, self.servers[1])),
            {self.servers[1].id: True},
        )

    def test_one_that_is_dead_gives_no_answer(self) -> None:
        self.nodes[self.others[0]].kill()
        self.run_for(0.1)
        asked = self.ask(self.others[0])
        self.run_for(2.0)
        self.failureResultOf(asked, NoteUnanswered)

    def test_no_questions(self) -> None:
        replica = self.nodes[self.leader].replica
        assert replica is not None
        bad: list[Any] = [
            None,
            [],
            [0.0, []],
            [1e6, []],
            [1.0, [["a"]]],
            [1.0, [["a", 1]] * 129],
        ]
        for body in bad:
            asked = replica.notes.ask(self.others[0], KIND, body, timeout=1.0)
            self.run_for(0.5)
            failure = self.failureResultOf(asked, NoteRefused)
            self.assertIn("no questions about servers", failure.getErrorMessage())

    def test_a_hand_over_is_known_to_all(self) -> None:
        target = self.others[1]
        self.witnesses[self.leader].hand_over(target)
        self.run_for(3.0)
        self.assertTrue(self.nodes[target].leads)
        for each in self.witnesses.values():
            self.assertLess(each.settled_for, 3.5)

    def test_a_hand_over_that_fails_is_tried_again(self) -> None:
        target = self.others[1]
        node = self.nodes[self.leader]
        assert node.replica is not None
        asked: list[str | None] = []
        with mock.patch.object(node.replica, "hand_over", asked.append):
            self.witnesses[self.leader].hand_over(target)
            self.run_for(10.0)
        self.assertEqual(asked, [target] * HAND_OVER_ATTEMPTS)
        asked.clear()
        with mock.patch.object(node.replica, "hand_over", asked.append):
            self.witnesses[self.leader].hand_over(target)
            node.kill()
            self.run_for(10.0)
        self.assertEqual(asked, [target])

    def test_it_is_not_tried_again_once_another_leads(self) -> None:
        target = self.others[1]
        self.witnesses[self.leader].hand_over(target)
        self.run_for(0.8)
        self.assertTrue(self.nodes[target].leads)
        replica = self.nodes[self.leader].replica
        with mock.patch.object(replica, "hand_over", self.fail):
            self.run_for(5.0)

    def test_one_that_cannot_be_handed_to(self) -> None:
        with capturedLogs() as events:
            self.witnesses[self.leader].hand_over("z")
        self.assertIn("z cannot take over", " ".join(map(eventAsText, events)))

    def test_the_kinds_are_those_of_this_version(self) -> None:
        self.assertEqual((KIND, HANDED_OVER_KIND), ("witness", "sight"))
