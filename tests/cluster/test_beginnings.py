"""
Beginnings of clusters, real and mistaken ones, with replicas on a network in memory.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from alacrity.cluster.proposals import ProposalRefused
from alacrity.pool import Register, TcpCheck
from tests.cluster.test_membership_changes import ClusterCase, Node, address_of
from tests.simulation.older import OlderMachine
from tests.support.fake_files import FakeFiles

REGISTER = Register("10.0.0.7", 8080, TcpCheck(), 1, 1.0)


class BeginningCase(ClusterCase):
    """
    Has helpers for the loss of files.
    """

    def ids(self, names: str) -> set[str | None]:
        """The ids of the cluster, by the status of each node."""
        return {self.nodes[name].status.cluster_id for name in names}

    def named(self, names: str) -> str:
        """The id of the cluster, once all nodes have it."""
        self.until(lambda: len(self.ids(names)) == 1 and None not in self.ids(names))
        (id,) = self.ids(names)
        assert id is not None
        return id

    def lose(self, name: str, founders: str) -> None:
        """Have a node start again without its files."""
        self.stop(name)
        node = self.nodes[name]
        node.files = FakeFiles()
        node.founders = founders
        node.start()

    def problem(self, name: str, of: str) -> str:
        """The problem that a node has with a member."""
        (member,) = (each for each in self.nodes[name].status.members if each.name == of)
        return member.problem or ""

    def refused(self, node: Node) -> None:
        """A write by way of a node is refused."""
        self.failureResultOf(self.settled(node.replica.propose(REGISTER)), ProposalRefused)


class BeginningTests(BeginningCase):
    """
    Clusters that begin.
    """

    def test_three(self) -> None:
        """
        A cluster begins once all members are heard, and then has an id, which restarts keep.
        """
        for name in "ab":
            self.add(name, "abc")
        self.run_for(7)
        for name in "ab":
            status = self.nodes[name].status
            self.assertEqual((status.term, status.leader, status.awaited), (0, None, ("c",)))
            self.assertIn("c: it cannot be reached", str(status.advice))
        self.refused(self.nodes["a"])
        self.add("c", "abc")
        self.assertIsNotNone(self.leader)
        id = self.named("abc")
        self.assertIsNone(self.leader.status.advice)
        for name in "abc":
            self.stop(name)
        for name in "ab":
            self.nodes[name].start()
        self.assertIsNotNone(self.leader)
        self.assertEqual(self.named("ab"), id)

    def test_alone(self) -> None:
        """
        A node alone names its cluster at once, and a node that joins gets to know the id.
        """
        self.add("a", "a")
        id = self.named("a")
        self.add("b")
        self.done(self.nodes["a"].replica.add_member(address_of("b")))
        self.assertEqual(self.named("ab"), id)

    def test_upgraded(self) -> None:
        """
        Files of an older program have no id. Its nodes go on, in whatever order they are upgraded,
        and get one once the last one is.
        """
        for name in "abc":
            self.add(name, "abc", program=OlderMachine)
        self.assertIsNotNone(self.leader)
        for name in "abc":
            self.assertEqual(self.ids("abc"), {None})
            self.stop(name)
            # The others have a majority meanwhile.
            self.assertIsNotNone(self.leader)
            self.nodes[name].program = None
            self.nodes[name].start()
            self.assertIsNotNone(self.leader)
            self.run_for(1)
        self.named("abc")
        self.assert_whole("abc")

    def test_a_member_that_is_behind(self) -> None:
        """
        A member that was away when the id was committed counts as before.
        """
        self.cluster("abc", "a")
        for name in "abc":
            self.nodes[name].transport.stop()
        self.run_for(2)
        self.assertIn(len(self.ids("abc")), {1, 2})
        for name in "abc":
            self.nodes[name].transport.start()
        self.named("abc")

    def test_lists_that_differ(self) -> None:
        """
        Nodes with different members do not begin a cluster, and say why.
        """
        self.add("a", "abc")
        self.add("b", "abc")
        self.add("c", "ac")
        self.run_for(5)
        self.assertEqual({node.status.term for node in self.nodes.values()}, {0})
        for name, of in (("a", "c"), ("c", "a"), ("b", "c")):
            self.assertIn("cluster.members", self.problem(name, of))
        self.assertIn("give all nodes of a new cluster the same list", self.problem("a", "c"))
        self.assertIn("give all nodes", str(self.nodes["c"].status.advice))

    def test_a_list_that_was_left_out(self) -> None:
        """
        A node without the list begins a cluster of its own. The others wait for it, and say so.
        """
        self.add("a", "abc")
        self.add("b", "abc")
        self.add("c", "c")
        self.run_for(5)
        own = "its cluster.members are a=a:8688, b=b:8688, c=c:8688, and those of 'c' c=c:8688"
        self.assertIn(own, self.problem("a", "c"))
        self.assertEqual(self.nodes["a"].status.awaited, ("c",))
        refused = self.nodes["c"].status.refused
        self.assertEqual(sorted(refused), ["a", "b"])
        self.assertIn("its cluster.members are a=a:8688, b=b:8688, c=c:8688", refused["a"])


class LostFilesTests(BeginningCase):
    """
    Nodes that lose their files.
    """

    def test_two_of_three(self) -> None:
        """
        They begin no cluster of their own, though they are a majority by their configuration,
        whether the third is there or not, and say what to do.
        """
        self.cluster("abc", "a")
        self.named("abc")
        self.done(self.nodes["a"].replica.propose(REGISTER))
        for away in (False, True):
            if away:
                self.stop("a")
            for name in "bc":
                self.lose(name, "abc")
            self.run_for(7)
            for name in "bc":
                status = self.nodes[name].status
                self.assertEqual((status.role, status.leader, status.stale), ("follower", None, 1))
                self.assertEqual((status.term, status.awaited), (0, ("a",)))
                self.assertIn("--force-new-cluster", str(status.advice))
                self.refused(self.nodes[name])
            if not away:
                self.assertIn("came back with an empty disk", str(self.nodes["b"].status.advice))
                self.assertIn("--force-new-cluster", str(self.nodes["a"].status.advice))

    def test_one_of_three(self) -> None:
        """
        It does not count until it was removed, and added again; with or without founders.
        """
        self.cluster("abc", "a")
        id = self.named("abc")
        for founders in ("", "abc"):
            self.lose("c", founders)
            self.run_for(3)
            self.assertIn("came back with an empty disk", self.problem("a", "c"))
            self.assertFalse(self.nodes["c"].status.has_quorum)
            self.done(self.nodes["a"].replica.remove_member("c"))
            self.done(self.nodes["a"].replica.add_member(address_of("c")))
            self.assertEqual(self.named("abc"), id)
            self.assert_whole("abc")

    def test_unknown_and_without_a_log(self) -> None:
        """
        A node that knows the id does not accept a member without one that it has never met.
        """
        self.cluster("abc", "a")
        self.named("abc")
        self.run_for(1)
        b = self.nodes["b"]
        b.replica._storage.forget_peer("c")
        self.lose("c", "abc")
        self.run_for(2)
        self.assertIn("it may have lost its files", self.problem("b", "c"))
        self.assertEqual(b.replica._storage.peers.get("c"), None)

    def test_two_clusters(self) -> None:
        """
        Two clusters with the same names that find each other do not mix.
        """
        self.cluster("abc", "a")
        first = self.named("abc")
        for name in "abc":
            self.stop(name)
        mine = {name: self.nodes[name].files for name in "abc"}
        for name in "abc":
            self.lose_stopped(name)
        self.assertIsNotNone(self.leader)
        second = self.named("abc")
        self.assertNotEqual(first, second)
        for name in "ab":
            self.stop(name)
            self.nodes[name].files = mine[name]
            self.nodes[name].start()
        self.run_for(5)
        self.assertEqual(self.ids("ab"), {first})
        self.assertTrue(self.nodes["a"].status.has_quorum)
        for name, of in (("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")):
            self.assertRegex(self.problem(name, of), "belongs to another cluster|empty disk")
        self.assertFalse(self.nodes["c"].status.has_quorum)

    def lose_stopped(self, name: str) -> None:
        """Have a stopped node start without files."""
        node = self.nodes[name]
        node.files = FakeFiles()
        node.luck = "other"
        node.start()

    def test_another_clusters_node_is_not_added(self) -> None:
        """
        A node that has the log of another cluster is not added, and told why.
        """
        self.cluster("abc", "a")
        self.named("abc")
        self.add("d", "d")
        self.named("d")
        adding = Deferred.fromCoroutine(self.nodes["a"].replica.add_member(address_of("d")))
        self.run_for(3.5)
        failure = self.failureResultOf(adding, ProposalRefused)
        self.assertIn("d=d:8688 is not added: ", failure.getErrorMessage())
        self.assertIn("belongs to another cluster", failure.getErrorMessage())
        self.assertEqual(len(self.nodes["a"].status.members), 3)

    def test_nobody_is_added(self) -> None:
        """
        Where nobody listens at an address, that is said after a few seconds, also to a caller of a
        follower; a node that starts meanwhile is added.
        """
        self.cluster("abc", "a")
        for through in "ab":
            adding = Deferred.fromCoroutine(self.nodes[through].replica.add_member(address_of("d")))
            self.run_for(4)
            failure = self.failureResultOf(adding, ProposalRefused)
            self.assertIn(
                "d=d:8688 is not added: it cannot be reached: ", failure.getErrorMessage()
            )
        adding = Deferred.fromCoroutine(self.nodes["b"].replica.add_member(address_of("d")))
        self.run_for(1)
        self.assertNoResult(adding)
        self.add("d")
        self.successResultOf(self.settled(adding))
        self.assert_whole("abcd")
