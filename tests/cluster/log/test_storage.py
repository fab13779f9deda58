"""
L{alacrity.cluster.log.storage}: changes, syncs, compactions, and files of earlier versions.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.errors import StateError
from alacrity.cluster.log.storage import NAME, LogEntry, Snapshot, Storage
from tests.support.fake_files import FakeFiles
from tests.support.logs import (
    INCARNATION,
    MEMBERS,
    opened,
    snapshot_of,
    state_of,
)
from tests.support.places import GOLDEN

RAFT_LOG_1 = GOLDEN / "raft-log-1.bin"


class StorageTests(SynchronousTestCase):
    """
    L{Storage}.
    """

    def setUp(self) -> None:
        self.files = FakeFiles()
        self.storage = opened(self.files)

    def reopened(self) -> Storage:
        return opened(self.files.crash())

    def fill(self, count: int = 5) -> None:
        for index in range(1, count + 1):
            self.storage.add(b"%d" % index, index, 1)
        self.storage.sync()

    def test_begins_empty(self) -> None:
        self.assertEqual(state_of(self.storage), (INCARNATION, 0, None, 1, (), None, {}))
        self.assertFalse(self.storage.dirty)
        self.assertEqual(state_of(self.reopened()), state_of(self.storage))

    def test_incarnations_differ(self) -> None:
        incarnations = {Storage.open(FakeFiles()).incarnation for _ in range(20)}
        self.assertEqual(len(incarnations), 20)
        self.assertEqual({len(each) for each in incarnations}, {32})

    def test_unsynced_is_lost(self) -> None:
        self.storage.add(b"1", 1, 1)
        self.assertTrue(self.storage.dirty)
        self.assertEqual(len(self.reopened()), 0)

    def test_one_sync_for_many(self) -> None:
        before = self.files.syncs
        for index in range(1, 101):
            self.storage.add(b"x", index, 1)
        self.storage.sync()
        self.storage.sync()
        self.assertEqual(self.files.syncs, before + 1)

    def test_commit_index_does_not_need_the_disk(self) -> None:
        """
        A new commit index is written with the next urgent change, or after a second.
        """
        self.fill()
        self.storage.setRaftCommitIndex(4)
        self.assertFalse(self.storage.dirty)
        self.storage.onOneSecondTimer()
        self.assertTrue(self.storage.dirty)
        self.storage.sync()
        self.assertEqual(self.reopened().getRaftCommitIndex(), 4)

    def test_same_again_is_no_change(self) -> None:
        self.storage.setCurrentTerm(3, "a")
        self.storage.remember_peer("b", INCARNATION)
        self.storage.sync()
        self.storage.setCurrentTerm(3, "a")
        self.storage.remember_peer("b", INCARNATION)
        self.storage.forget_peer("c")
        self.assertFalse(self.storage.dirty)

    def test_positions(self) -> None:
        """
        The engine's interface takes positions in the log, not indices.
        """
        self.fill()
        self.storage.deleteEntriesFrom(3)
        self.assertEqual([e[1] for e in self.storage[:]], [1, 2, 3])
        self.assertEqual(self.storage[-1], (b"3", 3, 1))
        self.assertEqual(self.storage[0:2], [(b"1", 1, 1), (b"2", 2, 1)])
        self.storage.deleteEntriesFrom(9)
        self.storage.clear()
        self.assertEqual(len(self.storage), 0)
        self.storage.add(b"9", 9, 2)
        self.storage.sync()
        self.assertEqual(self.reopened()[:], [(b"9", 9, 2)])

    def test_gap(self) -> None:
        """
        An entry that does not follow the last one is refused.
        """
        self.fill()
        self.assertRaises(ValueError, self.storage.add, b"", 7, 1)

    def test_no_trim_without_snapshot(self) -> None:
        """
        Entries that no snapshot contains cannot be dropped. (PySyncObj would lose
        everything so at its first compaction.)
        """
        self.fill()
        self.assertRaises(ValueError, self.storage.deleteEntriesTo, 1)
        self.storage.deleteEntriesTo(0)
        self.assertEqual(len(self.storage), 5)

    def test_compaction(self) -> None:
        """
        A compaction drops the entries in the snapshot, and keeps the changes that were made
        while it was written.
        """
        self.fill()
        size = len(self.files.content()[NAME])
        compaction = self.storage.prepare(snapshot_of(self.storage, 5, b"s"))
        self.storage.add(b"6", 6, 1)
        self.storage.sync()
        compaction.write()
        self.storage.add(b"7", 7, 2)
        self.assertTrue(self.storage.adopt(compaction))
        self.storage.setCurrentTerm(9, "b")
        self.storage.sync()
        again = self.reopened()
        self.assertEqual(state_of(again), state_of(self.storage))
        self.assertEqual(again[:], [(b"4", 4, 1), (b"5", 5, 1), (b"6", 6, 1), (b"7", 7, 2)])
        self.assertEqual(again.snapshot, Snapshot(b"s", 5, 1, MEMBERS, (4, 1)))
        self.assertEqual(set(self.files.content()), {NAME})
        self.assertGreater(size, 0)

    def test_compaction_not_written(self) -> None:
        compaction = self.prepared()
        self.assertFalse(self.storage.adopt(compaction))
        self.assertIsNone(self.storage.snapshot)
        self.assertFalse(self.storage.dirty)

    def test_compaction_fails(self) -> None:
        """
        A full disk leaves the old file as it was, and no other file.
        """
        compaction = self.prepared()
        before = self.files.content()
        self.files.capacity = len(before[NAME]) + 10
        self.assertRaises(OSError, compaction.write)
        self.assertEqual(self.files.content(), before)
        self.assertFalse(self.storage.adopt(compaction))

    def test_compaction_overtaken(self) -> None:
        """
        A compaction is not adopted after a snapshot from elsewhere, a second compaction or
        a truncation.
        """
        for overtake in (
            lambda: self.storage.replace(
                Snapshot(b"other", 9, 2, MEMBERS, None), [(b"9", 9, 2), (b"10", 10, 2)]
            ),
            lambda: self.storage.prepare(snapshot_of(self.storage, 4)),
            lambda: self.storage.deleteEntriesFrom(2),
            self.write_anew,
        ):
            self.setUp()
            compaction = self.prepared()
            compaction.write()
            overtake()
            expected = state_of(self.storage)
            self.assertFalse(self.storage.adopt(compaction))
            self.storage.sync()
            self.assertEqual(state_of(self.storage), expected)
            self.assertEqual(state_of(self.reopened()), expected)

    def test_prepare_before_adopted_is_synced(self) -> None:
        compaction = self.prepared()
        compaction.write()
        self.assertTrue(self.storage.adopt(compaction))
        second = self.storage.prepare(snapshot_of(self.storage, 5, b"second"))
        second.write()
        self.storage.sync()
        self.assertTrue(self.storage.adopt(second))
        self.storage.sync()
        self.assertEqual(state_of(self.reopened()), state_of(self.storage))
        snapshot = self.storage.snapshot
        assert snapshot is not None
        self.assertEqual(snapshot.state, b"second")

    def write_anew(self) -> None:
        """
        Replace the latest entries by others of the same terms.
        """
        entries = self.storage[1:]
        self.storage.deleteEntriesFrom(1)
        for command, index, term in entries:
            self.storage.add(command + b"!", index, term)

    def prepared(self) -> Any:
        self.fill()
        return self.storage.prepare(snapshot_of(self.storage, 4))

    def test_snapshot_that_does_not_fit(self) -> None:
        self.fill()
        for wrong in (
            Snapshot(b"", 6, 1, MEMBERS, (5, 1)),
            Snapshot(b"", 5, 2, MEMBERS, (4, 1)),
            Snapshot(b"", 5, 1, MEMBERS, (4, 2)),
            Snapshot(b"", 5, 1, MEMBERS, (3, 1)),
        ):
            self.assertRaises(ValueError, self.storage.prepare, wrong)
            self.assertRaises(ValueError, self.storage.replace, wrong, self.storage[:])
        good = Snapshot(b"", 5, 1, MEMBERS, (4, 1))
        gap: Sequence[LogEntry] = [*self.storage[3:], (b"7", 7, 1)]
        self.assertRaises(ValueError, self.storage.replace, good, gap)
        self.assertFalse(self.storage.dirty)

    def test_older_snapshot(self) -> None:
        compaction = self.prepared()
        compaction.write()
        self.storage.adopt(compaction)
        self.storage.add(b"6", 6, 1)
        older = Snapshot(b"", 3, 1, MEMBERS, None)
        self.assertRaises(ValueError, self.storage.prepare, older)

    def test_replace(self) -> None:
        self.fill()
        self.storage.setCurrentTerm(7, "b")
        snapshot = Snapshot(b"theirs", 90, 6, MEMBERS, (89, 5))
        self.storage.replace(snapshot, [(b"p", 89, 5), (b"l", 90, 6)])
        self.assertTrue(self.storage.dirty)
        self.storage.sync()
        again = self.reopened()
        self.assertEqual(again[:], [(b"p", 89, 5), (b"l", 90, 6)])
        self.assertEqual(again.snapshot, snapshot)
        self.assertEqual((again.getCurrentTerm(), again.getRaftCommitIndex()), (7, 90))

    def test_full_disk(self) -> None:
        """
        Writing goes on when there is room again.
        """
        self.fill()
        self.files.capacity = len(self.files.content()[NAME]) + 5
        self.storage.add(b"six", 6, 1)
        error = self.assertRaises(OSError, self.storage.sync)
        self.assertEqual(error.errno, errno.ENOSPC)
        self.assertTrue(self.storage.dirty)
        self.assertRaises(OSError, self.storage.rewrite)
        self.files.capacity = None
        self.storage.sync()
        self.assertFalse(self.storage.dirty)
        self.assertEqual(state_of(self.reopened()), state_of(self.storage))

    def test_failed_fsync_is_never_repeated(self) -> None:
        """
        After a failed fsync the whole file is written anew: what is on disk is unknown, and
        a second fsync may succeed and mean nothing.
        """
        self.fill()
        self.storage.add(b"six", 6, 1)
        self.files.fail_at = {self.files.operations + 1}
        self.assertRaises(OSError, self.storage.sync)
        operations = self.files.operations
        self.storage.sync()
        self.assertEqual(self.files.operations, operations + 5)  # create write sync rename names
        self.assertEqual(state_of(self.reopened()), state_of(self.storage))

    def test_read_only(self) -> None:
        self.files.read_only = True
        self.storage.add(b"1", 1, 1)
        error = self.assertRaises(OSError, self.storage.sync)
        self.assertEqual(error.errno, errno.EROFS)
        with self.assertRaisesRegex(StateError, "^the state directory /fake cannot be used: Read-"):
            opened(self.files)

    def test_close(self) -> None:
        self.fill()
        self.storage.setRaftCommitIndex(5)
        self.storage._destroy()
        self.assertEqual(self.reopened().getRaftCommitIndex(), 5)

    def test_close_on_full_disk(self) -> None:
        self.storage.add(b"1", 1, 1)
        self.files.capacity = 0
        with capturedLogs() as logs:
            self.storage.close()
        self.assertIn("No space left", eventAsText(logs[0]))

    def test_change_during_sync(self) -> None:
        """
        A change may be made while a thread syncs.
        """

        class Busy(FakeFiles):
            during: Callable[[], None] = staticmethod(lambda: None)

            def _operate(self) -> int:
                during, self.during = self.during, lambda: None
                during()
                return super()._operate()

        files = Busy()
        storage = opened(files)
        storage.add(b"1", 1, 1)
        files.during = lambda: storage.remember_peer("b", INCARNATION)
        storage.sync()
        self.assertTrue(storage.dirty)
        storage.sync()
        self.assertEqual(state_of(opened(files.crash())), state_of(storage))

    def test_golden(self) -> None:
        """
        Files of this version are read as they were written. (The golden file was made by
        the steps of this test; remove it only with the version.)
        """
        storage = opened(FakeFiles({NAME: RAFT_LOG_1.read_bytes()}))
        self.assertEqual(
            state_of(storage),
            (
                INCARNATION,
                3,
                "b",
                6,
                ((b"\0five", 5, 2), (b"\0six", 6, 3)),
                Snapshot(b"state", 5, 2, MEMBERS, (4, 2)),
                {"b": "f" * 32},
            ),
        )
