"""
The proof that a node is the leader.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.authority import Authority
from alacrity.cluster.replica import Replica
from alacrity.cluster.replica_settings import ReplicaSettings
from tests.simulation.clock import patched, use
from tests.simulation.network import Network
from tests.simulation.nodes import Node
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.world import World

WITHIN = 1.5


class AuthorityTests(SynchronousTestCase):
    """
    Replicas in the simulation.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        self.network = Network(self.world)

    def start(self, *names: str) -> None:
        ledger = RaftLedger(self.world)
        settings = ReplicaSettings()
        self.nodes = {
            name: Node(self.world, self.network, ledger, name, names, settings) for name in names
        }
        for node in self.nodes.values():
            node.start()
        self.run_for(5.0)
        self.leader = next(name for name in names if self.nodes[name].leads)
        self.others = [name for name in names if name != self.leader]

    def run_for(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    def replica(self, name: str) -> Replica:
        replica = self.nodes[name].replica
        assert replica is not None
        return replica

    def authority(self, name: str) -> Authority:
        return self.replica(name).authority

    def prove(self, name: str) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.authority(name).prove(WITHIN, 1.0))

    def proves(self, name: str) -> bool:
        proof = self.prove(name)
        self.run_for(2.0)
        return self.successResultOf(proof)

    def test_the_leader_alone_can_prove_it(self) -> None:
        self.start("n1", "n2", "n3")
        self.assertTrue(self.proves(self.leader))
        for name in self.others:
            self.assertFalse(self.proves(name))

    def test_the_proof_is_good_for_a_while(self) -> None:
        self.start("n1", "n2", "n3")
        authority = self.authority(self.leader)
        self.assertFalse(authority.is_proven(WITHIN))
        proof = self.prove(self.leader)
        self.run_for(0.5)
        self.assertTrue(self.successResultOf(proof))
        self.assertTrue(self.successResultOf(self.prove(self.leader)))
        self.run_for(0.5)
        # It is still good, and is renewed before it is not.
        self.assertTrue(self.successResultOf(self.prove(self.leader)))
        self.run_for(1.0)
        self.assertTrue(authority.is_proven(WITHIN))
        self.run_for(1.0)
        self.assertFalse(authority.is_proven(WITHIN))

    def test_one_node_alone_needs_no_proof(self) -> None:
        self.start("n1")
        self.assertTrue(self.successResultOf(self.prove("n1")))

    def test_a_minority_proves_nothing(self) -> None:
        self.start("n1", "n2", "n3")
        for name in self.others:
            self.nodes[name].kill()
        self.run_for(0.2)
        self.assertFalse(self.proves(self.leader))

    def test_a_leader_that_was_paused_and_deposed(self) -> None:
        """
        It still believes that it leads when it goes on, and had heard a majority before.
        """
        self.start("n1", "n2", "n3")
        self.assertTrue(self.proves(self.leader))
        former = self.nodes[self.leader]
        former.time.pause()
        self.run_for(5.0)
        self.assertTrue(any(self.nodes[name].leads for name in self.others))
        former.time.resume()
        proof = self.prove(self.leader)
        self.run_for(2.0)
        self.assertFalse(self.successResultOf(proof))

    def test_a_leader_behind_a_cut(self) -> None:
        self.start("n1", "n2", "n3")
        self.assertTrue(self.proves(self.leader))
        self.network.cut(
            {(self.leader, other) for other in self.others}
            | {(other, self.leader) for other in self.others}
        )
        self.run_for(0.1)
        self.assertFalse(self.proves(self.leader))
        new = next(name for name in self.others if self.nodes[name].leads)
        self.assertTrue(self.proves(new))

    def test_a_question_that_is_none(self) -> None:
        self.start("n1")
        ask = self.replica("n1").notes.ask("n1", "follow", "x", timeout=1.0)
        self.assertIs(self.successResultOf(ask), False)
