"""
L{alacrity.node.leases}: renewals and hints on their way to the leader.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.proposals import ProposalRefused
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.health import LeaseKeeper, LossGuard, ProposalBatcher
from alacrity.node.leases import ACKNOWLEDGED_WITHIN, Hints, Leases
from alacrity.pool import (
    GuardLimits,
    NoCheck,
    Register,
    Server,
    ServerOptions,
    State,
    TcpCheck,
)
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal
from tests.simulation.clock import patched, use
from tests.simulation.network import Network
from tests.simulation.nodes import Node
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.world import World

ID = "10.0.0.7:80"
LEASE = 6.0


class _Monitor:
    def __init__(self) -> None:
        self.hinted: list[str] = []

    def hint(self, id: str) -> None:
        self.hinted.append(id)


class ClusterTests(SynchronousTestCase):
    """
    A cluster in the simulation, whose nodes keep leases.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        self.network = Network(self.world)
        self.leases: dict[str, Leases] = {}
        self.keepers: dict[str, LeaseKeeper] = {}
        self.hints: dict[str, Hints] = {}
        self.monitors: dict[str, Any] = {}

    def start(self, *names: str) -> None:
        ledger = RaftLedger(self.world)
        settings = ReplicaSettings()
        self.nodes = {
            name: Node(self.world, self.network, ledger, name, names, settings) for name in names
        }
        for node in self.nodes.values():
            node.start()
            self.keep(node)
        self.run_for(5.0)

    def keep(self, node: Node) -> None:
        """
        Have a node keep leases, as its control side does.
        """
        replica, view, time = node.replica, node.view, node.time
        assert replica is not None
        propose = ProposalBatcher(
            replica.propose_as_leader, lambda: replica.format >= 2, time
        ).propose
        guard = LossGuard(view, propose, GuardLimits(0.2, 60.0), time.seconds)
        keeper = LeaseKeeper(
            view,
            propose,
            guard,
            margin=ACKNOWLEDGED_WITHIN,
            deregister_after=300.0,
            clock=time,
            wall=time.seconds,
        )

        def led(leads: bool) -> None:
            if leads and not keeper.running:
                keeper.startService()
            elif not leads and keeper.running:
                keeper.stopService()

        replica.on_leadership_change(led)
        led(replica.is_leader)
        self.keepers[node.name] = keeper
        self.leases[node.name] = Leases(replica, keeper, time)
        self.monitors[node.name] = monitor = _Monitor()
        leader = partial(getattr, replica, "leader_name")
        self.hints[node.name] = Hints(replica.notes, leader, monitor.hint)

    def run_for(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)

    @property
    def leader(self) -> str:
        return next(name for name, node in self.nodes.items() if node.leads)

    @property
    def followers(self) -> list[str]:
        return [name for name in self.nodes if name != self.leader and self.nodes[name].running]

    def register(self, ip: str, check: Any, lease: float | None) -> None:
        options = ServerOptions(lease=lease)
        command = Register(ip, 80, check, 1, self.world.now, options)
        done = self.nodes[self.leader].propose(command, f"register {ip}")
        self.run_for(1.0)
        self.successResultOf(done)

    def renew(self, name: str, id: str = ID) -> Deferred[Renewal]:
        return Deferred.fromCoroutine(self.leases[name].renew(id))

    def server(self, name: str) -> Server:
        return self.nodes[name].pool.servers[ID]

    def indexes(self) -> set[int]:
        return {node.pool.index for node in self.nodes.values() if node.running}

    def test_any_member_takes_renewals_and_none_is_in_the_log(self) -> None:
        self.start("n1", "n2", "n3")
        self.register("10.0.0.7", NoCheck(), LEASE)
        before = self.indexes()
        for _ in range(20):
            for name in self.nodes:
                renewal = self.renew(name)
                self.run_for(1.0)
                self.assertEqual(self.successResultOf(renewal), Renewal(6.0, 2.0))
        self.assertEqual(self.indexes(), before)
        self.run_for(10.0)
        self.assertGreater(min(self.indexes()), min(before))

    def test_one_node_alone(self) -> None:
        self.start("n1")
        self.register("10.0.0.7", NoCheck(), LEASE)
        self.assertEqual(self.successResultOf(self.renew("n1")), Renewal(6.0, 2.0))
        self.assertEqual(self.leases["n1"].terms(30.0), Renewal(30.0, 10.0))

    def test_what_is_unknown_and_what_has_no_lease(self) -> None:
        self.start("n1", "n2", "n3")
        self.register("10.0.0.8", TcpCheck(), None)
        for name in self.nodes:
            for id, fault in (("10.0.0.9:80", NoSuchServer), ("10.0.0.8:80", HasNoLease)):
                renewal = self.renew(name, id)
                self.run_for(1.0)
                self.failureResultOf(renewal, fault)

    def test_without_a_leader(self) -> None:
        self.start("n1", "n2", "n3")
        self.register("10.0.0.7", NoCheck(), LEASE)
        left, *others = self.followers
        for name in (self.leader, *others):
            self.nodes[name].kill()
        for _ in range(3):
            renewal = self.renew(left)
            self.run_for(3.0)
            self.failureResultOf(renewal, ProposalRefused)

    def test_over_an_election(self) -> None:
        """
        A renewal waits for the next leader.
        """
        self.start("n1", "n2", "n3")
        self.register("10.0.0.7", NoCheck(), LEASE)
        left = self.followers[0]
        self.nodes[self.leader].time.pause()
        renewal = self.renew(left)
        self.run_for(2.5)
        self.assertEqual(self.successResultOf(renewal), Renewal(6.0, 2.0))

    def check_that_it_stays(self, act: Any, undo: Any) -> None:
        """
        A server that renews with whomever it reaches, every two seconds, and again at once.
        """
        self.register("10.0.0.7", NoCheck(), LEASE)
        self.register("10.0.0.8", NoCheck(), 86400.0)
        former = self.nodes[self.leader]
        states = set()
        for second in range(40):
            if second == 5:
                act(former)
            if second == 15:
                undo(former)
            for _ in range(4):
                running = [name for name, node in self.nodes.items() if node.running]
                name = self.world.rng.choice(running)
                renewal = self.renew(name)
                renewal.addErrback(lambda failure: failure.trap(ProposalRefused) and None)
                self.run_for(0.25)
            states |= {self.server(name).state for name in running}
        self.assertEqual(states, {State.UP})
        self.assertFalse(self.server(self.leader).condition.suspect)

    def test_a_leader_that_is_killed(self) -> None:
        self.start("n1", "n2", "n3")

        def restart(node: Node) -> None:
            node.start()
            self.keep(node)

        self.check_that_it_stays(lambda node: node.kill(), restart)

    def test_a_leader_that_is_paused(self) -> None:
        self.start("n1", "n2", "n3")
        self.check_that_it_stays(lambda node: node.time.pause(), lambda node: node.time.resume())

    def test_a_leader_that_is_cut_off(self) -> None:
        self.start("n1", "n2", "n3")

        def isolate(node: Node) -> None:
            others = [name for name in self.nodes if name != node.name]
            self.network.cut(
                {(node.name, other) for other in others} | {(other, node.name) for other in others}
            )

        self.check_that_it_stays(isolate, lambda node: self.network.cut(set()))

    def test_hints_reach_the_leader(self) -> None:
        self.start("n1", "n2", "n3")
        for name in self.nodes:
            self.hints[name].send(ID, "silent")
        self.hints[self.leader].send("10.0.0.8:80", "reset")
        self.run_for(1.5)
        hinted = self.monitors[self.leader].hinted
        self.assertEqual((hinted.count(ID), len(hinted)), (3, 4))
        self.hints[self.leader].send(ID, "silent")
        self.assertEqual(len(hinted), 5)
        for name in self.followers:
            self.assertEqual(self.monitors[name].hinted, [])
