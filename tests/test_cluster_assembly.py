"""
Who is in the cluster, when a node starts.
"""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.assembly import _settle
from alacrity.cluster.engine import bootstrap, members_of
from alacrity.cluster.members import Member
from alacrity.cluster.state import Replicated, encode_state
from alacrity.cluster.storage import Storage
from tests.fake_files import FakeFiles

A, B, C = (Member(f"10.0.0.{n}:8688", f"10.0.0.{n}:8688") for n in (1, 2, 3))


class ForceTests(SynchronousTestCase):
    """
    C{--force-new-cluster}.
    """

    def setUp(self) -> None:
        self.files = FakeFiles()
        self.storage = Storage.open(self.files)
        bootstrap(self.storage, (A, B, C), encode_state(Replicated()))
        self.storage.remember_peer(B.name, "b" * 32)
        self.storage.remember_peer(C.name, "c" * 32)
        self.storage.sync()

    def test_forgets_the_others(self) -> None:
        """
        The former members can join anew with empty disks, under their old names: it is
        not remembered which disks they had.
        """
        with capturedLogs():
            _settle(self.storage, A, (), join=False, force=True)
        self.assertEqual([each.name for each in members_of(self.storage)], [A.name])
        self.assertEqual(self.storage.peers, {})
        self.storage.sync()
        self.assertEqual(Storage.open(self.files.crash()).peers, {})

    def test_remembers_them_otherwise(self) -> None:
        """
        Without it, a member that comes back with another disk is found out.
        """
        with capturedLogs():
            _settle(self.storage, A, (A, B, C), join=False, force=False)
        self.assertEqual(self.storage.peers, {B.name: "b" * 32, C.name: "c" * 32})
