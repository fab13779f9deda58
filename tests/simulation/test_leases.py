"""
L{tests.simulation.leases}, in scripts: a leader that was deposed while it was paused.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.notes import NoteUnanswered
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.pool import NoCheck, Register, ServerOptions, server_id
from tests.simulation.clock import patched, use
from tests.simulation.leases import LeaseLedger
from tests.simulation.network import Network
from tests.simulation.nodes import Node
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.world import World


class PausedLeaderTests(SynchronousTestCase):
    """
    A leader that is paused until another one leads.
    """

    def test_it_acknowledges_no_renewal(self) -> None:
        """
        A renewal that waits for it when it goes on is refused: the server would rely on an
        answer that the next leader knows nothing of.
        """
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        world = World(1)
        use(world)
        network, ledger = Network(world), RaftLedger(world)
        ledger.leases = LeaseLedger(world, self.fail)
        names = ("n1", "n2", "n3")
        nodes = {
            name: Node(world, network, ledger, name, names, ReplicaSettings()) for name in names
        }
        for node in nodes.values():
            node.start()
        world.run(world.now + 5.0)
        former = next(node for node in nodes.values() if node.leads)
        options = ServerOptions(lease=30.0)
        register = Register("10.0.0.3", 1, NoCheck(), 1, world.now, options)
        self.assertFalse(former.propose(register, "register-1").called)
        world.run(world.now + 1.0)
        id = server_id("10.0.0.3", 1)
        former.time.pause()
        world.run(world.now + 6.0)
        self.assertTrue(any(node.leads for node in nodes.values() if node is not former))
        assert former.replica is not None
        renewal = former.replica.notes.ask(former.name, "renew", id, timeout=2.0)
        former.time.resume()
        world.run(world.now + 3.0)
        self.failureResultOf(renewal, NoteUnanswered)
