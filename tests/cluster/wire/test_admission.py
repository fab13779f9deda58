"""
L{alacrity.cluster.wire.admission}: nodes that are let in, and nodes that are refused.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.admission import PeerAdmission
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
