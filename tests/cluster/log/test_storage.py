"""
L{alacrity.cluster.log.storage}: what a node must not forget.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.files import DirectoryFiles, Files
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import HEADER_SIZE, Append, Damage, Term, frame, header, parse
from alacrity.cluster.log.storage import NAME, TAKEN_OVER, DamagedLog, Entry, Snapshot, Storage
from alacrity.pool import Pool
from alacrity.pool.store import NAME as POOL_NAME
from alacrity.pool.store import StateError
from tests.pool.test_store import POOL, POOL_1
from tests.support.fake_files import Crashed, FakeFiles
from tests.support.places import GOLDEN

RAFT_LOG_1 = GOLDEN / "raft-log-1.bin"

INCARNATION = "00112233445566778899aabbccddeeff"

MEMBERS = (Member("a", "10.0.0.1:8688"), Member("b", "10.0.0.2:8688"))


def opened(files: Files, **options: Any) -> Storage:
    return Storage.open(files, new_incarnation=lambda: INCARNATION, **options)


def state_of(storage: Storage) -> object:
    """
    All that is kept, in a value that can be compared.
    """
    return (
        storage.incarnation,
        storage.getCurrentTerm(),
        storage.getVotedForNodeId(),
        storage.getRaftCommitIndex(),
        tuple(storage[:]),
        storage.snapshot,
        storage.peers,
    )


def snapshot_of(storage: Storage, index: int, state: bytes = b"state") -> Snapshot:
    """
    A snapshot at an entry of the log that is not its first.
    """
    at = index - storage[0][1]
    previous = storage[at - 1][1:]
    return Snapshot(state, *storage[at][1:], MEMBERS, previous)


def filled() -> FakeFiles:
    """
    A disk with a log of five frames.
    """
    files = FakeFiles()
    storage = opened(files)
    storage.add(b"\1", 1, 0)
    storage.sync()
    storage.setCurrentTerm(1, "a")
    storage.sync()
    storage.add(b"\0one", 2, 1)
    storage.add(b"\0two", 3, 1)
    storage.sync()
    storage.remember_peer("b", INCARNATION[::-1])
    storage.setRaftCommitIndex(3)
    storage.sync()
    return files


_KINDS = {
    "add": 6,
    "truncate": 1,
    "term": 1,
    "commit": 1,
    "peer": 1,
    "forget": 1,
    "second": 1,
    "trim": 1,
    "sync": 4,
    "prepare": 3,
    "write": 4,
    "adopt": 4,
    "replace": 1,
}


def steps_of(rng: Random) -> list[tuple[str, int, int]]:
    """
    A life at random: what is done, and two numbers that say how.
    """
    kinds = rng.choices(list(_KINDS), list(_KINDS.values()), k=rng.randint(1, 60))
    return [(kind, rng.randint(0, 9), rng.randint(0, 9)) for kind in kinds]


# Not lists of steps, which hypothesis keeps too short for a compaction to come about.
STEPS = st.integers(0, 1 << 62).map(Random).map(steps_of)


class Life:
    """
    A storage, steps done to it, and the states in which a crash may leave it.
    """

    def __init__(self, files: FakeFiles, storage: Storage) -> None:
        self.files = files
        self.storage = storage
        self.rewrite: Any = None
        self.written = False
        self.possible = [state_of(storage)]

    def step(self, kind: str, a: int, b: int) -> None:
        storage = self.storage
        if kind == "sync":
            state = state_of(storage)
            self.possible.append(state)
            try:
                storage.sync()
            except OSError:
                return
            self.possible = [state]
        elif kind == "write":
            if self.rewrite is not None and not self.written:
                try:
                    self.rewrite.write()
                except OSError:
                    self.rewrite = None
                else:
                    self.written = True
        else:
            self.change(storage, kind, a, b)

    def change(self, storage: Storage, kind: str, a: int, b: int) -> None:
        last = storage[-1][1] if len(storage) else 0
        least = 0 if storage.snapshot is None else storage.snapshot.last_index
        if kind == "add":
            storage.add(b"command" * a, last + 1, storage.getCurrentTerm())
        elif kind == "truncate":
            keep = max(1, least - storage[0][1] + 1) if len(storage) else 0
            storage.deleteEntriesFrom(max(keep, len(storage) - a))
        elif kind == "term":
            storage.setCurrentTerm(storage.getCurrentTerm() + a, [None, "a", "b"][b % 3])
        elif kind == "commit":
            storage.setRaftCommitIndex(max(1, last - a))
        elif kind == "peer":
            storage.remember_peer(f"peer{a % 3}", f"{b:032x}")
        elif kind == "forget":
            storage.forget_peer(f"peer{a % 3}")
        elif kind == "second":
            storage.onOneSecondTimer()
        elif kind == "prepare":
            if self.rewrite is None and len(storage) > 1:
                at = max(1, len(storage) - 1 - a)
                index = storage[at][1]
                if index >= least:
                    self.rewrite = storage.prepare(snapshot_of(storage, index, b"%d" % b))
                    self.written = False
        elif kind == "adopt":
            if self.rewrite is not None and self.written:
                storage.adopt(self.rewrite)
                self.rewrite = None
        elif kind == "replace":
            index = last + 1 + a
            entries = [(b"p", index, 1), (b"l", index + 1, 2), (b"n", index + 2, 2)][: 2 + b % 2]
            storage.replace(Snapshot(b"new", index + 1, 2, MEMBERS, (index, 1)), entries)
        elif kind == "trim" and storage.snapshot is not None:
            storage.deleteEntriesTo(min(a, storage.snapshot.first_kept - storage[0][1]))


class CrashTests(SynchronousTestCase):
    """
    Whatever was done, and wherever it ended.
    """

    @settings(max_examples=1500, deadline=None)
    @given(
        STEPS,
        st.integers(0, 60),
        st.sets(st.integers(0, 60), max_size=3),
        st.integers(0, 1 << 30),
        st.booleans(),
        st.booleans(),
    )
    def test_crash(
        self,
        steps: list[tuple[str, int, int]],
        crash_at: int,
        fail_at: set[int],
        seed: int,
        power: bool,
        fsync: bool,
    ) -> None:
        """
        What was synced is there, maybe with what was being synced; never anything else.
        Without fsync this holds for the death of the process.
        """
        power = power and fsync
        files = FakeFiles()
        files.crash_at = crash_at
        life = None
        try:
            storage = opened(files, fsync=fsync)
            life = Life(files, storage)
            files.fail_at = fail_at
            for step in steps:
                life.step(*step)
        except Crashed:
            pass
        rng = Random(seed)
        found = files.crash(rng, power=power)
        content = found.content()
        with capturedLogs():
            again = opened(found, fsync=fsync)
        if life is None:
            self.assertEqual(len(again), 0)
        else:
            self.assertIn(state_of(again), life.possible)
        # It goes on from there, and reading it changes nothing.
        last = again[-1][1] if len(again) else 0
        self.assertEqual(state_of(opened(FakeFiles(found.content()))), state_of(again), content)
        again.add(b"more", last + 1, 9)
        again.sync()
        self.assertEqual(state_of(opened(found.crash(None, power=power))), state_of(again))

    @settings(max_examples=500, deadline=None)
    @given(STEPS, st.sets(st.integers(3, 40), max_size=8))
    def test_failures(self, steps: list[tuple[str, int, int]], fail_at: set[int]) -> None:
        """
        After failed writes, the first that succeeds has all on disk.
        """
        files = FakeFiles()
        storage = opened(files)
        files.fail_at = fail_at
        life = Life(files, storage)
        for step in steps:
            life.step(*step)
        files.fail_at = set()
        storage.sync()
        self.assertFalse(storage.dirty)
        self.assertEqual(state_of(opened(files.crash())), state_of(storage))


class DamageTests(SynchronousTestCase):
    """
    Bytes that were not written here.
    """

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_flipped_bit(self, data: st.DataObject) -> None:
        """
        A wrong bit before the last frame is reported; in the last frame, that is
        dropped.
        """
        files = filled()
        content = files.content()[NAME]
        last = parse(content).frames[-1][0]
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        disk = FakeFiles({NAME: bytes(damaged)})
        if bit // 8 < last:
            with self.assertRaises(DamagedLog) as caught:
                opened(disk)
            message = str(caught.exception)
            self.assertIn("/fake/raft.log is damaged at byte ", message)
            self.assertNotIn("\n", message)
            self.assertEqual(disk.content(), {NAME: bytes(damaged)})
        else:
            with capturedLogs() as logs:
                storage = opened(disk)
            self.assertEqual([e["log_level"] for e in logs], [LogLevel.warn])
            self.assertEqual(storage.peers, {})
            self.assertEqual(len(storage), 3)

    def test_cut_off(self) -> None:
        """
        A frame that is cut off is dropped, wherever.
        """
        content = filled().content()[NAME]
        last = parse(content).frames[-1][0]
        for end in range(last + 1, len(content)):
            with capturedLogs() as logs:
                storage = opened(FakeFiles({NAME: content[:end]}))
            self.assertIn(f"{end - last} bytes from byte {last}", eventAsText(logs[0]))
            self.assertEqual(len(storage), 3)

    def test_short_header(self) -> None:
        """
        The header was whole when the file got its name.
        """
        content = filled().content()[NAME]
        for end in range(HEADER_SIZE):
            self.assertRaises(DamagedLog, opened, FakeFiles({NAME: content[:end]}))

    def test_first_frame(self) -> None:
        """
        So was the first frame. Who lost it does not know how it voted.
        """
        content = filled().content()[NAME]
        second = parse(content).frames[1][0]
        flipped = bytearray(content[:second])
        flipped[-1] ^= 1
        for damaged in (bytes(flipped), *(content[:end] for end in range(HEADER_SIZE, second))):
            self.assertRaises(DamagedLog, opened, FakeFiles({NAME: damaged}))

    def test_zeros(self) -> None:
        """
        Zeros at the end, as file systems leave them, are a torn frame.
        """
        content = filled().content()[NAME]
        with capturedLogs():
            storage = opened(FakeFiles({NAME: content + bytes(5000)}))
        self.assertEqual(storage.peers, {"b": INCARNATION[::-1]})

    def test_repeated_frame(self) -> None:
        """
        A frame that stands there twice is not taken for a torn one.
        """
        content = filled().content()[NAME]
        last = parse(content).frames[-1][0]
        self.assertRaises(Damage, parse, content + content[last:])

    def test_contradiction(self) -> None:
        """
        So is a log with a gap, whatever its checksums say.
        """
        content = header(INCARNATION)
        content += frame(INCARNATION, 1, [Append(1, 0, b""), Append(3, 0, b"")])
        with self.assertRaisesRegex(DamagedLog, "entry 3 follows entry 1"):
            opened(FakeFiles({NAME: content}))

    def test_other_records(self) -> None:
        """
        Records that are not known here are not skipped.
        """
        good = frame(INCARNATION, 1, [Term(7, None)])
        self.assertIn(b"\x93\xa4term", good)
        with self.assertRaisesRegex(Damage, "header|checksum|frame"):
            parse(header(INCARNATION) + good.replace(b"term", b"team") + good)


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
        It goes with the next sync that something else needs, or after a second.
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
        The engine speaks of positions, not of indices.
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
        self.storage.flush()
        self.assertEqual(self.reopened()[:], [(b"9", 9, 2)])

    def test_gap(self) -> None:
        """
        An entry that does not follow is the engine's fault, and is refused.
        """
        self.fill()
        self.assertRaises(ValueError, self.storage.add, b"", 7, 1)

    def test_no_trim_without_snapshot(self) -> None:
        """
        (Upstream loses everything at the first compaction so.)
        """
        self.fill()
        self.assertRaises(ValueError, self.storage.deleteEntriesTo, 1)
        self.storage.deleteEntriesTo(0)
        self.assertEqual(len(self.storage), 5)

    def test_compaction(self) -> None:
        """
        A snapshot drops what it contains, and keeps what came while it was written.
        """
        self.fill()
        size = len(self.files.content()[NAME])
        rewrite = self.storage.prepare(snapshot_of(self.storage, 5, b"s"))
        self.storage.add(b"6", 6, 1)
        self.storage.sync()
        rewrite.write()
        self.storage.add(b"7", 7, 2)
        self.assertTrue(self.storage.adopt(rewrite))
        self.storage.setCurrentTerm(9, "b")
        self.storage.sync()
        again = self.reopened()
        self.assertEqual(state_of(again), state_of(self.storage))
        self.assertEqual(again[:], [(b"4", 4, 1), (b"5", 5, 1), (b"6", 6, 1), (b"7", 7, 2)])
        self.assertEqual(again.snapshot, Snapshot(b"s", 5, 1, MEMBERS, (4, 1)))
        self.assertEqual(set(self.files.content()), {NAME})
        self.assertGreater(size, 0)

    def test_compaction_not_written(self) -> None:
        rewrite = self.prepared()
        self.assertFalse(self.storage.adopt(rewrite))
        self.assertIsNone(self.storage.snapshot)
        self.assertFalse(self.storage.dirty)

    def test_compaction_fails(self) -> None:
        """
        A full disk leaves the old file as it was, and no leftovers.
        """
        rewrite = self.prepared()
        before = self.files.content()
        self.files.capacity = len(before[NAME]) + 10
        self.assertRaises(OSError, rewrite.write)
        self.assertEqual(self.files.content(), before)
        self.assertFalse(self.storage.adopt(rewrite))

    def test_compaction_overtaken(self) -> None:
        """
        By a snapshot from elsewhere, by a second one, by a truncation.
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
            rewrite = self.prepared()
            rewrite.write()
            overtake()
            expected = state_of(self.storage)
            self.assertFalse(self.storage.adopt(rewrite))
            self.storage.sync()
            self.assertEqual(state_of(self.storage), expected)
            self.assertEqual(state_of(self.reopened()), expected)

    def test_prepare_before_adopted_is_synced(self) -> None:
        rewrite = self.prepared()
        rewrite.write()
        self.assertTrue(self.storage.adopt(rewrite))
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
        Have other entries in the place of the latest, of the same terms.
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
        gap: Sequence[Entry] = [*self.storage[3:], (b"7", 7, 1)]
        self.assertRaises(ValueError, self.storage.replace, good, gap)
        self.assertFalse(self.storage.dirty)

    def test_older_snapshot(self) -> None:
        rewrite = self.prepared()
        rewrite.write()
        self.storage.adopt(rewrite)
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
        It goes on when there is room again.
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
        After it, nobody knows what is on disk: a second one may succeed and mean
        nothing. So all is written anew.
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
        The transport may learn of a peer while a thread syncs.
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
        Files of this version are read as they were written. (Made by this test's own
        steps; remove it only with the version.)
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


class TakeOverTests(SynchronousTestCase):
    """
    The pool of a node that was alone.
    """

    def first(self, pool: Pool) -> tuple[Snapshot, list[Entry]]:
        self.pool = pool
        snapshot = Snapshot(b"the pool", 2, 0, MEMBERS[:1], (1, 0))
        return snapshot, [(b"\1", 1, 0), (b"\1", 2, 0)]

    def test_taken_over(self) -> None:
        content = POOL_1.read_bytes()
        files = FakeFiles({POOL_NAME: content})
        with capturedLogs() as logs:
            storage = opened(files, first=self.first)
        self.assertEqual(self.pool, POOL)
        self.assertEqual(storage.getRaftCommitIndex(), 2)
        survivors = files.crash()
        self.assertEqual(set(survivors.content()), {NAME, TAKEN_OVER})
        self.assertEqual(survivors.content()[TAKEN_OVER], content)
        self.assertEqual(state_of(opened(survivors, first=self.first)), state_of(storage))
        self.assertIn("is taken over", eventAsText(logs[0]))

    def test_any_crash(self) -> None:
        """
        The pool is in one of the two files, whenever the machine stops.
        """
        for crash_at in range(8):
            files = FakeFiles({POOL_NAME: POOL_1.read_bytes()})
            files.crash_at = crash_at
            with capturedLogs():
                try:
                    opened(files, first=self.first)
                except Crashed:
                    pass
                storage = opened(files.crash(Random(crash_at)), first=self.first)
            self.assertEqual(self.pool, POOL)
            self.assertIsNotNone(storage.snapshot)

    def test_not_asked_for(self) -> None:
        files = FakeFiles({POOL_NAME: POOL_1.read_bytes()})
        self.assertIsNone(opened(files).snapshot)
        self.assertIn(POOL_NAME, files.content())

    def test_nothing_there(self) -> None:
        self.assertIsNone(opened(FakeFiles(), first=self.first).snapshot)

    def test_damaged(self) -> None:
        """
        It is put aside likewise; there is nothing else to keep.
        """
        files = FakeFiles({POOL_NAME: b"{"})
        with capturedLogs() as logs:
            opened(files, first=self.first)
        self.assertEqual(self.pool, Pool())
        self.assertIn("cannot be used", eventAsText(logs[0]))
        self.assertEqual(files.content()[TAKEN_OVER], b"{")

    def test_log_wins(self) -> None:
        files = filled()
        disk = FakeFiles({**files.content(), POOL_NAME: POOL_1.read_bytes()})
        with capturedLogs() as logs:
            storage = opened(disk, first=self.first)
        self.assertEqual(len(storage), 3)
        self.assertIn("is not read", eventAsText(logs[0]))


class DirectoryTests(SynchronousTestCase):
    """
    The same on a real directory.
    """

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name) / "state"

    def files(self) -> DirectoryFiles:
        files = DirectoryFiles(self.path)
        self.addCleanup(files.close)
        return files

    def test_life(self) -> None:
        files = self.files()
        storage = opened(files)
        life = Life(FakeFiles(), storage)
        for step in [("add", n, 0) for n in range(5)]:
            life.step(*step)
        storage.sync()
        rewrite = storage.prepare(snapshot_of(storage, 4))
        rewrite.write()
        storage.adopt(rewrite)
        storage.add(b"six", 6, 0)
        storage.sync()
        storage.add(b"seven", 7, 0)
        storage.close()
        again = opened(files)
        self.addCleanup(again.close)
        self.assertEqual(state_of(again), state_of(storage))
        self.assertEqual(stat.S_IMODE((self.path / NAME).stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)
        self.assertEqual({each.name for each in self.path.iterdir()}, {NAME, "lock"})

    def test_one_process(self) -> None:
        self.files()
        with self.assertRaisesRegex(StateError, "is used by another process"):
            DirectoryFiles(self.path)

    def test_unusable(self) -> None:
        self.path.write_bytes(b"")
        with self.assertRaisesRegex(StateError, "cannot be used: File exists"):
            DirectoryFiles(self.path)

    def test_missing(self) -> None:
        files = self.files()
        self.assertIsNone(files.read("nothing"))
        files.remove("nothing")
        self.assertRaises(FileNotFoundError, files.append, "nothing")
