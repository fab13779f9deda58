"""
Replicas over their transports, on a network in memory: who is taken in, who leaves, and
that all of them find each other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.cluster.raft.membership import bootstrap
from alacrity.cluster.replica import Replica
from alacrity.cluster.state import Replicated, encode_state
from alacrity.cluster.status import ClusterStatus
from alacrity.cluster.wire.admission import PeerAdmission
from alacrity.cluster.wire.introductions import Manners
from alacrity.cluster.wire.transport import PeerTransport
from alacrity.net.addresses import NodeAddress
from alacrity.pool import PoolView, Register, TcpCheck
from tests.simulation.clock import patched, use
from tests.simulation.world import World
from tests.support.fake_files import FakeFiles
from tests.support.fake_network import FakeNetwork

PORT = 8688


def member(name: str) -> Member:
    return Member(name, f"{name}:{PORT}")


def address_of(name: str) -> NodeAddress:
    return NodeAddress(name, f"{name}:{PORT}")


class Node:
    """
    One that is started, and can be stopped and started again.
    """

    program: type[PoolMachine] | None = None

    def __init__(
        self,
        network: FakeNetwork,
        name: str,
        founders: str = "",
        state: bytes = encode_state(Replicated()),
        program: type[PoolMachine] | None = None,
    ) -> None:
        """
        @param founders: with whom it begins a cluster; none: it waits to be taken in.
        @param state: with which the cluster begins.
        @param program: its state machine; L{None}: the one that is shipped.
        """
        self.luck = ""
        self.host = name
        self.elsewhere: dict[str, str] = {}
        self.program = program
        self.state = state
        self.network = network
        self.name = name
        self.files = FakeFiles()
        self.founders = founders
        self.start()

    def start(self) -> None:
        network, name = self.network, self.name
        clock = network.clock
        rng = Random(name + self.luck)
        storage = Storage.open(self.files)
        if len(storage) == 0 and self.founders:
            bootstrap(storage, tuple(map(member, self.founders)), self.state)
            storage.sync()
        admission = PeerAdmission(
            self._known,
            storage,
            lambda: self.replica.format,
            lambda: self.replica.greeting,
            lambda name: name not in self.replica.member_names,
        )
        me = Member(name, f"{self.host}:{PORT}")
        self.transport = PeerTransport(
            me,
            lambda: self.replica.identity,
            (b"s" * 32,),
            admission,
            [network.server(self.host, PORT)],
            network.connector(self.host),
            clock,
            rng,
            rng.randbytes,
            elsewhere=self.elsewhere,
            manners=Manners(
                lambda: self.replica.greeting,
                admission.greeted,
                (self.program or PoolMachine).version,
            ),
        )
        self.view = PoolView()
        self.replica = Replica(
            me,
            storage,
            self.transport,
            self.view,
            clock,
            lambda what: deferLater(clock, 0.002, what),
            rng,
            machine=(self.program or PoolMachine)(),
        )
        Deferred.fromCoroutine(self.replica.start())

    def _known(self, name: str) -> Member | None:
        return self.replica.known(name)

    def is_a(self, role: str) -> bool:
        return self.status.role == role

    def follows(self, leader: str) -> bool:
        return self.status.leader == leader

    @property
    def status(self) -> ClusterStatus:
        return self.replica.status()


class ClusterCase(SynchronousTestCase):
    """
    Has nodes on a network in memory.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        self.clock = Clock()
        self.network = FakeNetwork(self.clock)
        self.nodes: dict[str, Node] = {}
        self.registered = 0
        logs = capturedLogs()
        logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def add(self, name: str, founders: str = "", **more: Any) -> Node:
        self.nodes[name] = Node(self.network, name, founders, **more)
        return self.nodes[name]

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.world.now += 0.01
            self.clock.advance(0.01)

    def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        for _ in range(round(seconds * 10)):
            if condition():
                return
            self.run_for(0.1)
        self.fail(f"not in {seconds} seconds: {[node.status for node in self.nodes.values()]}")

    def settled(self, coroutine: Coroutine[Any, Any, Any] | Deferred[Any]) -> Deferred[Any]:
        """
        Something that takes a while, once it is over.
        """
        result = coroutine
        if not isinstance(result, Deferred):
            result = Deferred.fromCoroutine(result)
        self.until(lambda: bool(result.called and not result.paused))
        return result

    def done(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """
        Something that takes a while is to succeed.
        """
        self.successResultOf(self.settled(coroutine))

    def stop(self, name: str) -> None:
        self.done(self.nodes[name].replica.stop())

    @property
    def leader(self) -> Node:
        """
        The one leader, once there is one, and all members follow it.
        """
        self.until(lambda: self._agreed() is not None)
        name = self._agreed()
        assert name is not None
        return self.nodes[name]

    def _agreed(self) -> str | None:
        running = [n for n in self.nodes.values() if n.transport.ready]
        taking_part = [n for n in running if n.status.role in {"leader", "follower", "candidate"}]
        leaders = {node.status.leader for node in taking_part}
        name = leaders.pop() if len(leaders) == 1 else None
        return name if name is not None and self.nodes[name].replica.is_leader else None

    def cluster(self, names: str, leader: str) -> None:
        """
        Some nodes that are a cluster from the beginning, one of which leads.
        """
        for name in names:
            self.add(name, names)
        self.let_lead(leader)

    def let_lead(self, name: str) -> None:
        def leads() -> bool:
            now = self.leader
            if now.name != name:
                now.replica.hand_over(name)
            return now.name == name

        self.until(leads)

    def assert_whole(self, names: str) -> None:
        """
        Assert that the members of the cluster are these, that each two have one
        connection, and nobody else has any, and that what is written by way of each is
        seen by all.
        """
        self.run_for(3)
        pairs = sorted((a, b) for a in names for b in names if a != b)
        ends = [(end.here, end.there) for end in self.network.connections]
        # Others may try.
        self.assertEqual(sorted(end for end in ends if set(end) <= set(names)), pairs)
        for name in names:
            connected = self.nodes[name].transport.connected
            self.assertEqual(
                [each for each in self.nodes if connected(each)],
                [each for each in self.nodes if each in names and each != name],
            )
        leader = self.leader
        for name in names:
            status = self.nodes[name].status
            self.assertEqual([each.name for each in status.members], list(names))
            self.assertEqual(status.leader, leader.name)
            self.registered += 1
            self.done(
                self.nodes[name].replica.propose(
                    Register(f"10.0.0.{self.registered}", 80, TcpCheck(), 1, 1.0)
                )
            )
        self.run_for(0.5)
        for name in names:
            self.assertEqual(len(self.nodes[name].view.pool.servers), self.registered)


class JoiningTests(ClusterCase):
    def test_founders(self) -> None:
        self.cluster("bcd", "c")
        self.assert_whole("bcd")

    def test_whoever_joins(self) -> None:
        """
        A node that knows nobody is taken in, whatever its name and the leader's, and
        whoever is asked.
        """
        for leader in "bcd":
            for asked in "bcd":
                self.setUp()
                self.cluster("bcd", leader)
                for name in "ae":
                    joining = self.add(name)
                    self.assertEqual(joining.status.role, "joining")
                    self.done(self.nodes[asked].replica.add_member(address_of(name)))
                self.assert_whole("abcde")

    def test_one_after_the_other(self) -> None:
        """
        A cluster of one grows, and each new member may lead.
        """
        for names in ("abcd", "dcba"):
            self.setUp()
            self.cluster(names[0], names[0])
            for name in names[1:]:
                self.add(name)
                self.done(self.leader.replica.add_member(address_of(name)))
                self.let_lead(name)
            self.assert_whole("abcd")

    def test_not_there(self) -> None:
        """
        Whoever does not run is not taken in, and is not looked for any more then.
        """
        self.cluster("bcd", "c")
        adding = self.nodes["b"].replica.add_member(address_of("a"))
        # Whether the last attempt was denied by then, is luck.
        self.failureResultOf(self.settled(adding), ProposalRefused, OutcomeUnknown)
        self.run_for(15)
        self.add("a")
        self.run_for(5)
        self.assertEqual(self.nodes["a"].status.role, "joining")
        del self.nodes["a"]
        self.assert_whole("bcd")

    def test_the_leader_leaves(self) -> None:
        """
        It hands over, is removed, and does not come back; nor does it after it was
        started again.
        """
        for leader in "bcd":
            self.setUp()
            self.cluster("bcd", leader)
            removed = self.leader
            self.done(removed.replica.remove_member(leader))
            rest = "bcd".replace(leader, "")
            self.until(partial(removed.is_a, "removed"))
            term = self.leader.status.term
            for _ in range(2):
                self.run_for(20)
                self.assertEqual(removed.status.role, "removed")
                self.assertFalse(removed.replica.is_leader)
                self.assert_whole(rest)
                self.stop(leader)
                removed.start()
            self.assertEqual(self.leader.status.term, term)

    def test_removed_and_added_again(self) -> None:
        """
        With empty files.
        """
        for name in "bd":
            self.setUp()
            self.cluster("bcd", "c")
            self.done(self.nodes["c"].replica.remove_member(name))
            self.run_for(2)
            self.stop(name)
            self.add(name)
            self.run_for(2)
            self.done(self.nodes["c"].replica.add_member(address_of(name)))
            self.assert_whole("bcd")

    def test_given_up_and_added_again(self) -> None:
        """
        Likewise, if it was not taken in the first time.
        """
        for name in "ae":
            self.setUp()
            self.cluster("bcd", "c")
            self.add(name)
            adding = Deferred.fromCoroutine(self.nodes["c"].replica.add_member(address_of(name)))
            self.until(partial(self.nodes["c"].transport.connected, name))
            self.stop(name)
            self.failureResultOf(self.settled(adding), ProposalRefused)
            self.run_for(5)
            self.add(name)
            self.done(self.nodes["c"].replica.add_member(address_of(name)))
            self.assert_whole("".join(sorted(f"bcd{name}")))

    def test_leader_was_started_again_meanwhile(self) -> None:
        """
        Likewise, if the leader stops before the new member is taken in.
        """
        for name in "ae":
            self.setUp()
            self.cluster("bcd", "c")
            self.add(name)
            adding = Deferred.fromCoroutine(self.nodes["c"].replica.add_member(address_of(name)))
            self.until(partial(self.nodes["c"].transport.connected, name))
            self.stop(name)
            self.stop("c")
            self.failureResultOf(adding, ProposalRefused, OutcomeUnknown)
            self.nodes["c"].start()
            self.let_lead("c")
            self.add(name)
            self.done(self.nodes["c"].replica.add_member(address_of(name)))
            self.assert_whole("".join(sorted(f"bcd{name}")))

    def test_removed_and_found_by_one_without_a_leader(self) -> None:
        """
        Likewise, if meanwhile a member has let it in, since it followed nobody.
        """
        for name in "be":
            self.setUp()
            self.cluster("".join(sorted(f"cd{name}")), "c")
            self.done(self.nodes["c"].replica.remove_member(name))
            self.stop("d")
            self.until(partial(self.nodes["c"].transport.connected, name))
            self.stop(name)
            self.nodes["d"].start()
            self.run_for(3)
            self.add(name)
            self.done(self.nodes["c"].replica.add_member(address_of(name)))
            self.assert_whole("".join(sorted(f"cd{name}")))

    def test_came_back_with_an_empty_disk(self) -> None:
        """
        A member whose files are gone is refused, also by one that it has never talked
        with as a member but when it was about to be one.
        """
        for name in "ae":
            self.setUp()
            self.cluster("bcd", "c")
            self.add(name)
            self.done(self.nodes["c"].replica.add_member(address_of(name)))
            self.run_for(1)
            self.stop(name)
            again = self.add(name)
            self.run_for(30)
            self.assertTrue(again.is_a("joining"))
            self.assertFalse(any(again.transport.connected(other) for other in "bcd"))

    def test_came_back_with_an_empty_disk_after_the_others_were_started_again(self) -> None:
        """
        Likewise: those that read in their logs again that it was removed and added do
        not forget with which disk that was.
        """
        self.cluster("bcd", "c")
        self.done(self.nodes["c"].replica.remove_member("d"))
        self.stop("d")
        self.add("d")
        self.done(self.nodes["c"].replica.add_member(address_of("d")))
        self.run_for(2)
        for name in "bcd":
            self.stop(name)
        again = self.add("d", "bcd")
        for name in "bc":
            self.nodes[name].start()
        self.run_for(30)
        self.assertFalse(any(again.transport.connected(other) for other in "bc"))
        self.assertTrue(self.nodes["b"].transport.connected("c"))

    def test_came_back_with_an_empty_disk_to_one_that_never_met_it(self) -> None:
        """
        A node that was added in the meantime learns of it from the log.
        """
        self.cluster("bcd", "b")
        self.stop("d")
        self.add("e")
        self.done(self.leader.replica.add_member(address_of("e")))
        self.run_for(2)
        again = self.add("d", "bcd")
        self.run_for(10)
        self.assertFalse(any(again.transport.connected(other) for other in "bce"))

    def test_another_one_that_a_member_does_not_know(self) -> None:
        """
        One that was removed and added again, with an empty disk, is let in by a member
        that missed both, when nobody else can tell it.
        """
        self.cluster("bcde", "b")
        self.stop("d")
        self.done(self.nodes["b"].replica.remove_member("c"))
        self.stop("c")
        self.add("c")
        self.done(self.nodes["b"].replica.add_member(address_of("c")))
        self.let_lead("c")
        self.nodes["d"].start()
        self.stop("b")
        self.until(partial(self.nodes["d"].follows, "c"), 5)
        self.done(self.nodes["d"].replica.barrier())
        self.nodes["b"].start()
        self.assert_whole("bcde")

    def test_a_leader_that_a_member_does_not_know(self) -> None:
        """
        A member that missed who was added is found by it, when it leads, and counts for
        a majority again.
        """
        for new in "ae":
            self.setUp()
            self.cluster("bcd", "b")
            self.stop("d")
            self.add(new)
            self.done(self.leader.replica.add_member(address_of(new)))
            self.let_lead(new)
            self.nodes["d"].start()
            self.until(partial(self.nodes["d"].follows, new), 3)
            self.stop("b")
            self.done(self.nodes["d"].replica.barrier())
            self.nodes["b"].start()
            self.assert_whole("".join(sorted(f"bcd{new}")))
