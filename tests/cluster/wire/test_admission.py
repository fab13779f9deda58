"""
L{alacrity.cluster.wire.admission}: nodes that are let in, and nodes that are refused.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.admission import PeerAdmission
from alacrity.cluster.wire.greeting import Greeting
from alacrity.cluster.wire.handshake import Identity
from tests.support.fake_files import FakeFiles


class PeerAdmissionTests(SynchronousTestCase):
    """
    L{PeerAdmission}.
    """

    def test_forgotten(self) -> None:
        """
        A member that was removed and added again may come with an empty disk.
        """
        storage = Storage.open(FakeFiles())
        admission = PeerAdmission(lambda name: Member(name, f"{name}:1"), storage)
        self.assertIsNone(admission(Identity("b", "1" * 32)))
        self.assertIsNotNone(admission(Identity("b", "2" * 32)))
        storage.forget_peer("b")
        self.assertIsNone(admission(Identity("b", "2" * 32)))

    def test_taken_in(self) -> None:
        """
        A member is known by the entry that took it in. One that was taken in again proves
        so by its seat, to nodes that do not have the new entry.
        """
        storage = Storage.open(FakeFiles())
        admission = PeerAdmission(lambda name: Member(name, "b:1", 7, "1" * 32, 3), storage)
        self.assertIsNone(admission(Identity("b", "1" * 32, (3, 7))))
        self.assertIsNone(admission(Identity("b", "1" * 32)))
        for seat in ((0, 0), (3, 7), (2, 9)):
            self.assertIsNotNone(admission(Identity("b", "2" * 32, seat)))
        for seat in ((3, 8), (4, 6)):
            self.assertIsNone(admission(Identity("b", "2" * 32, seat)))
        self.assertEqual(storage.peers, {})

    def test_not_remembered(self) -> None:
        """
        A node that may be no member is let in under any incarnation, which is not
        remembered.
        """
        storage = Storage.open(FakeFiles())
        admission = PeerAdmission(lambda name: Member(name, ""), storage)
        self.assertIsNone(admission(Identity("b", "1" * 32)))
        self.assertIsNone(admission(Identity("b", "2" * 32)))
        self.assertEqual(storage.peers, {})

    def test_a_program_that_does_not_understand_the_log(self) -> None:
        """
        Once the log has commands of a new version, a node whose program does not understand
        them is not let in, even where no member is known, and its incarnation is not
        remembered.
        """
        storage = Storage.open(FakeFiles())
        formats = [1]
        admission = PeerAdmission(lambda name: Member(name, "b:1"), storage, lambda: formats[0])
        self.assertIsNone(admission(Identity("b", "1" * 32, format=1)))
        formats[0] = 2
        self.assertEqual(
            admission(Identity("b", "1" * 32, format=1)),
            "'b' understands commands up to version 1, but this cluster uses version 2: "
            "upgrade its program",
        )
        self.assertIsNotNone(admission(Identity("c", "3" * 32, format=1)))
        self.assertNotIn("c", storage.peers)
        for format in (2, 3):
            self.assertIsNone(admission(Identity("b", "1" * 32, format=format)))


class GreetedTests(SynchronousTestCase):
    """
    L{PeerAdmission.greeted}.
    """

    ONE = "1" * 16

    def setUp(self) -> None:
        self.storage = Storage.open(FakeFiles())
        self.own = Greeting("a", members=("a:1", "b:1"))
        self.member: Member | None = Member("b", "b:1")
        self.is_learner = False
        self.admission = PeerAdmission(
            lambda name: self.member,
            self.storage,
            own=lambda: self.own,
            is_learner=lambda name: self.is_learner,
        )

    def meet(
        self, said: Greeting | None, incarnation: str = "1", seat: tuple[int, int] = (0, 0)
    ) -> str:
        """
        The reason to refuse b, first by its identity; empty: there is none.
        """
        peer = Identity("b", incarnation * 32, seat)
        return self.admission(peer) or self.admission.greeted(peer, said) or ""

    def test_the_same_cluster(self) -> None:
        """
        A node of this cluster, and before there is an id, a node without one.
        """
        said = Greeting("b", members=("a:1", "b:1"))
        self.assertEqual(self.meet(said), "")
        self.own = Greeting("a", self.ONE, True, members=("a:1", "b:1"))
        self.assertEqual(self.meet(Greeting("b", self.ONE, True, members=("a:1",))), "")

    def test_another_cluster(self) -> None:
        """
        By its id alone, member or not.
        """
        self.own = Greeting("a", self.ONE, True)
        for member in (self.member, None, Member("b", "")):
            self.member = member
            self.assertIn(
                "'b' belongs to another cluster, 2222222222222222; this one is 1111111111111111",
                self.meet(Greeting("b", "2" * 16, True)),
            )

    def test_behind(self) -> None:
        """
        A member whose log does not have the id yet is known by its files, as is a learner that
        has none, and a member that was added again.
        """
        self.storage.remember_peer("b", "1" * 32)
        self.own = Greeting("a", self.ONE, True)
        self.assertEqual(self.meet(Greeting("b")), "")
        self.assertIn("came back with an empty disk", self.meet(Greeting("b"), "2"))
        self.storage.forget_peer("b")
        self.is_learner = True
        self.assertEqual(self.meet(Greeting("b"), "2"), "")
        self.assertEqual(self.storage.peers, {"b": "2" * 32})
        self.is_learner = False
        self.storage.forget_peer("b")
        self.assertEqual(self.meet(Greeting("b"), "3", (2, 7)), "")

    def test_without_id_and_unknown(self) -> None:
        """
        A member without an id that was not met before may have lost its files. It is not
        remembered either.
        """
        self.own = Greeting("a", self.ONE, True)
        for said in (Greeting("b"), Greeting("b", has_entries=True), None):
            for _ in range(2):
                self.assertIn("it may have lost its files", self.meet(said))
        self.assertEqual(self.storage.peers, {})
        self.assertEqual(self.meet(Greeting("b", self.ONE)), "")
        self.assertEqual(self.storage.peers, {"b": "1" * 32})

    def test_lists_that_differ(self) -> None:
        """
        Nodes that begin a cluster need the same list. Later the lists may differ for a while.
        """
        said = Greeting("b", members=("b:1", "c=c:1"))
        self.assertEqual(
            self.meet(said),
            "its cluster.members are b:1, c=c:1, and those of 'a' a:1, b:1: give all nodes of a "
            "new cluster the same list",
        )
        self.own = Greeting("a", "", True, members=("a:1", "b:1"))
        self.assertEqual(self.meet(said), "")

    def test_a_list_that_was_left_out(self) -> None:
        """
        A node that begins alone is asked by one that counts it among its members.
        """
        self.member = None
        self.own = Greeting("a", self.ONE, True, members=("a:1",))
        self.assertEqual(
            self.meet(Greeting("b", members=("a:1", "b:1"))),
            "'b' is not a member of the cluster: its cluster.members are a:1, b:1, and those of "
            "'a' a:1",
        )
        self.assertEqual(self.meet(Greeting("b", waits=True)), "'b' is not a member of the cluster")

    def test_an_older_program(self) -> None:
        """
        It does not greet, and is told at once that it is no member.
        """
        self.assertEqual(self.meet(None), "")
        self.member = None
        self.assertEqual(
            self.admission(Identity("b", "1" * 32, format=1)), "'b' is not a member of the cluster"
        )
