"""
The members of the cluster when a node starts.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.assembly import ClusterNode, _ever_members, _open, _settle
from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.log.errors import StateError
from alacrity.cluster.log.formats import NAMING_FORMAT
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import NAME, DamagedLog, Storage
from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.raft.membership import (
    Members,
    bootstrap,
    encode_members,
    make_alone,
    members_of,
)
from alacrity.cluster.raft.messages import AppendEntries, InstallSnapshot, plain
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.settings import NodeSettings
from alacrity.cluster.state import Envelope, NameCluster, Replicated, encode_envelope, encode_state
from alacrity.pool import PoolView
from tests.support.fake_files import FakeFiles

A, B, C = (Member(f"10.0.0.{n}:8688", f"10.0.0.{n}:8688") for n in (1, 2, 3))


class DamageTests(SynchronousTestCase):
    """
    A log that cannot be understood.
    """

    def setUp(self) -> None:
        files = FakeFiles()
        storage = Storage.open(files)
        bootstrap(storage, (A,), encode_state(Replicated()))
        storage.sync()
        self.damaged = b"x" + files.content()[NAME][1:]
        self.files = FakeFiles({NAME: self.damaged})

    def test_alone(self) -> None:
        """
        A node that is alone puts it aside, and begins with nothing; each time under
        another name.
        """
        for count in (1, 2, 3):
            with capturedLogs() as events:
                storage = _open(self.files, fsync=True, first=None, set_aside=True)
            self.assertEqual(len(storage), 0)
            self.assertEqual(len(events), 1)
            self.assertIn("set aside", events[0]["log_format"])
            aside = [name for name in self.files.content() if ".damaged-" in name]
            self.assertEqual(len(aside), count)
            self.assertEqual({self.files.content()[name] for name in aside}, {self.damaged})
            self.files = FakeFiles({**self.files.content(), NAME: self.damaged})

    def test_in_a_cluster(self) -> None:
        """
        One that others may count on, does not start, and leaves it as it is.
        """
        with self.assertRaises(DamagedLog):
            _open(self.files, fsync=True, first=None, set_aside=False)
        self.assertEqual(self.files.content(), {NAME: self.damaged})


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

    def test_another_cluster(self) -> None:
        """
        The cluster gets another id, so that nodes of the former one are others'.
        """
        named = encode_envelope(Envelope(NAMING_FORMAT, "x", 0, NameCluster("1" * 16)))
        self.storage.add(REGULAR + named, 3, 1)
        for force, changes in ((False, False), (True, True), (True, True)):
            with capturedLogs():
                _settle(self.storage, A, (A, B, C), join=False, force=force)
            machine = PoolMachine()
            before = [command[1:] for command, _, _ in self.storage[:] if command[:1] == REGULAR]
            for command in before:
                machine.apply(command)
            self.assertEqual(machine.cluster_id != "1" * 16, changes)
        self.assertEqual(len(before), 3)

    def test_one_that_was_taken_in_starts_again(self) -> None:
        """
        What its entry says of it beside name and address, it is not configured with.
        """
        taken_in = msgspec.structs.replace(B, joined=7, incarnation="b" * 32)
        storage = Storage.open(FakeFiles())
        bootstrap(storage, (A, taken_in), encode_state(Replicated()))
        with capturedLogs() as logs:
            for members in ((), (A, B)):
                _settle(storage, B, members, join=True, force=False)
        self.assertEqual(members_of(storage), (A, taken_in))
        self.assertEqual(logs, [])

    def test_remembers_them_otherwise(self) -> None:
        """
        Without it, a member that comes back with another disk is found out.
        """
        with capturedLogs():
            _settle(self.storage, A, (A, B, C), join=False, force=False)
        self.assertEqual(self.storage.peers, {B.name: "b" * 32, C.name: "c" * 32})


class ChangedTests(SynchronousTestCase):
    """
    Nodes whose configuration has changed.
    """

    ALONE = Member("standalone", "")

    def setUp(self) -> None:
        self.storage = Storage.open(FakeFiles())

    def begin(self, *members: Member, begun: bool = True) -> None:
        """A log that begins with these members."""
        bootstrap(self.storage, members, encode_state(Replicated()))
        if begun:
            self.storage.setCurrentTerm(1, members[0].name)
            self.storage.add(b"\1", 3, 1)

    def settle(self, me: Member, *members: Member) -> list[str]:
        """Settle, and return what is logged."""
        with capturedLogs() as logs:
            _settle(self.storage, me, members, join=False, force=False)
        return [str(formatEvent(each)) for each in logs]

    def test_back_to_a_single_node(self) -> None:
        """
        The last member of a cluster can become a standalone node, and the first of a cluster
        again.
        """
        self.begin(A)
        (line,) = self.settle(self.ALONE)
        self.assertIn("it is now a standalone node", line)
        (member,) = members_of(self.storage)
        self.assertEqual(member.contact, self.ALONE.contact)
        self.assertEqual(member.incarnation, self.storage.incarnation)
        self.assertEqual(self.settle(B), [])
        self.assertEqual([each.contact for each in members_of(self.storage)], [B.contact])

    def test_not_while_there_are_others(self) -> None:
        """
        A member of several cannot: it is said how.
        """
        self.begin(A, B)
        with self.assertRaisesRegex(StateError, "remove them first .*--force-new-cluster"):
            self.settle(self.ALONE)

    def test_nor_one_that_was_removed(self) -> None:
        """
        A node whose log says that another one is the only member is not that one. Nor is one that
        waited to be added to it.
        """
        self.begin(A, B)
        left = msgspec.structs.replace(B, incarnation="b" * 32)
        self.storage.add(encode_members(Members("x", (left,))), 4, 1)
        with self.assertRaises(StateError):
            self.settle(self.ALONE)
        self.storage = Storage.open(FakeFiles())
        self.begin(A)
        self.storage.setCurrentTerm(2, None)
        with self.assertRaises(StateError):
            self.settle(self.ALONE)

    def test_a_single_member_moves(self) -> None:
        """
        With its name, it may have another address; and with another name, it may not.
        """
        self.begin(A)
        moved = Member(A.name, "elsewhere:1")
        self.settle(moved)
        self.assertEqual([each.contact for each in members_of(self.storage)], [moved.contact])
        with self.assertRaisesRegex(StateError, "Give it its name back"):
            self.settle(B)

    def test_a_member_moves(self) -> None:
        """
        It starts, and the log has its former address until the leader knows.
        """
        self.begin(A, B)
        (line,) = self.settle(Member(A.name, "elsewhere:1"))
        self.assertIn("the address of this node is now elsewhere:1", line)
        self.assertEqual(members_of(self.storage), (A, B))

    def test_corrected_before_it_begins(self) -> None:
        """
        The members are taken from the configuration as long as the cluster has not begun.
        """
        self.begin(A, B, begun=False)
        self.storage.remember_peer("b", "b" * 32)
        self.assertEqual(self.settle(A, A, B), [])
        self.assertEqual(self.storage.peers, {"b": "b" * 32})
        (line,) = self.settle(A, A, B, C)
        self.assertIn("changed before the cluster has begun", line)
        self.assertEqual(members_of(self.storage), (A, B, C))
        self.assertEqual(self.storage.peers, {})
        self.storage.setCurrentTerm(1, None)
        (line,) = self.settle(A, A, B)
        self.assertIn("cluster.members is ignored", line)
        self.assertEqual(members_of(self.storage), (A, B, C))


class BelongingTests(SynchronousTestCase):
    """
    Who was a member at some time. Others are to be taken in still, though they have the
    log: a leader that stops may leave a node behind that has caught up and is not in.
    """

    def test_ever(self) -> None:
        """
        Members of the snapshot, and those of any entry, but nobody else.
        """
        storage = Storage.open(FakeFiles())
        self.assertEqual(_ever_members(storage), set())
        bootstrap(storage, (A, B), encode_state(Replicated()))
        self.assertEqual(_ever_members(storage), {A.name, B.name})
        make_alone(storage, C)
        self.assertEqual(_ever_members(storage), {A.name, B.name, C.name})


class _Reactor(MemoryReactorClock):
    def getThreadPool(self) -> None:
        """None is needed, as nothing is written."""


class WaitingTests(SynchronousTestCase):
    """
    Whether a node that joins has to ask again.
    """

    def make(self) -> ClusterNode:
        node = ClusterNode(
            _Reactor(), NodeSettings(C), Path(self.mktemp()), PoolView(), (b"",), join=True
        )
        self.addCleanup(node._files.close)
        return node

    def receive(self, node: ClusterNode, message: AppendEntries | InstallSnapshot) -> None:
        engine = node.replica._engine
        engine.receive(Peer(A), plain(message))
        engine.tick()

    def test_until_it_is_a_member_for_certain(self) -> None:
        """
        A leader that stops before the entry is committed may leave a node behind that takes
        itself for a member, and is none to the next leader.
        """
        node = self.make()
        self.assertTrue(node.waiting)
        state = encode_state(Replicated())
        self.receive(node, InstallSnapshot(1, 9, 1, [A, B], len(state), 0, state, 1))
        self.assertEqual(node.replica.status().role, "removed")
        self.assertTrue(node.waiting)
        taken_in = msgspec.structs.replace(C, joined=10, term=1)
        entry = encode_members(Members("x", (A, B, taken_in))), 10, 1
        self.receive(node, AppendEntries(1, 9, 9, 1, [entry], 1))
        self.assertEqual(node.replica.status().role, "follower")
        self.assertTrue(node.waiting)
        self.receive(node, AppendEntries(1, 10, 10, 1, [], 1))
        self.assertFalse(node.waiting)
