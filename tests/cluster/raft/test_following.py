"""
A follower's guards: what it commits, truncates and installs, and how it answers a mismatch.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.log.entries import MEMBERSHIP, NO_OP, REGULAR
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import RaftLimits
from alacrity.cluster.raft.membership import (
    MemberChange,
)
from alacrity.cluster.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    Reply,
    SnapshotReply,
)
from tests.cluster.raft.engines import A, B, C, D, EngineCase
from tests.simulation.variants import (
    WithoutG1,
    WithoutG2,
    WithoutG5,
)
from tests.support.fake_files import FakeFiles


class G1Tests(EngineCase):
    """Commit only what is verified."""

    def commit_with_tail(self, engine: type[Engine]) -> Engine:
        made = self.make(A, B, C, engine=engine)
        self.append("b", 1, self.entries(1, 1, 1))
        # c leads now, and has none of these but the first.
        self.append("c", 2, [], prev=(3, 1), commit=5)
        return made

    def test_a_tail_that_nobody_proved_is_not_committed(self) -> None:
        self.assertEqual(self.commit_with_tail(Engine).commit_index, 3)

    def test_without_the_guard_it_is(self) -> None:
        self.assertEqual(self.commit_with_tail(WithoutG1).commit_index, 5)

    def test_a_slice_of_a_snapshot_commits_nothing(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1))
        replies = self.give("c", InstallSnapshot(2, 9, 2, [A, B, C], 10, 0, b"12345", 4))
        self.assertEqual(replies, [SnapshotReply(2, 9, 5)])
        self.assertEqual(engine.commit_index, 2)

    def test_an_old_snapshot_is_passed_over(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1), commit=5)
        engine.tick()
        replies = self.give("c", InstallSnapshot(2, 4, 1, [A, B, C], 5, 0, b"12345", 4))
        self.assertEqual(replies, [Reply(2, 6, True, 4)])
        self.assertEqual((engine.applied_index, engine.last_index), (5, 5))


class G2Tests(EngineCase):
    """Truncate only on conflict."""

    def repeat(self, engine: type[Engine]) -> Engine:
        made = self.make(A, B, C, engine=engine)
        self.append("b", 1, self.entries(1, 1, 1))
        self.append("b", 1, self.entries(1))
        return made

    def test_a_repeat_keeps_what_was_acknowledged(self) -> None:
        self.assertEqual(self.repeat(Engine).last_index, 5)

    def test_without_the_guard_it_is_forgotten(self) -> None:
        self.assertEqual(self.repeat(WithoutG2).last_index, 3)

    def test_a_conflict_truncates_from_there(self) -> None:
        self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1))
        self.append("c", 2, self.entries(1, 2))
        self.assertEqual([entry[2] for entry in self.storage[0:9]], [0, 1, 2])

    def test_what_is_committed_is_never_truncated(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1), commit=4)
        self.assertEqual(self.append("c", 2, self.entries(2)), [])
        self.assertEqual(
            engine.halted,
            "entry 3 is committed here, but the leader of term 2 has sent a different one",
        )
        self.assertEqual(engine.last_index, 4)

    def test_entries_with_a_gap_are_not_taken(self) -> None:
        engine = self.make(A, B, C)
        self.assertEqual(self.append("b", 1, self.entries(1, start=9)), [])
        self.assertEqual(engine.last_index, 2)


class G5Tests(EngineCase):
    """Common ground is found in one step."""

    def test_what_is_committed_is_common(self) -> None:
        self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1), commit=3)
        for prev in ((9, 2), (5, 2)):
            replies = self.append("c", 2, [], prev=prev)
            self.assertEqual(replies, [Reply(2, 4, False, 7)])

    def test_without_the_guard_the_last_of_many_answers_leads_away(self) -> None:
        """
        Entry 5 contradicts, and entry 9 is far ahead: the leader is told to go back to
        5, and then on to 6, from where it learns to go back to 5.
        """
        self.make(A, B, C, engine=WithoutG5)
        self.append("b", 1, self.entries(1, 1, 1), commit=3)
        answers = [self.append("c", 2, [], prev=(index, 2))[0] for index in (5, 9)]
        self.assertEqual(answers, [Reply(2, 5, False, 7), Reply(2, 6, False, 7)])

    def test_the_leader_looks_one_message_at_a_time(self) -> None:
        engine = self.lead(A, B, C, limits=RaftLimits(batch=10))
        for number in range(20):
            engine.submit("x", REGULAR + b"%08d" % number)
        engine.tick()
        self.sent.messages.clear()
        self.world.now += 0.2
        engine.tick()
        probes = [each for to, each in self.sent.messages if to == "b"]
        self.assertEqual(len(probes), 1)
        assert isinstance(probes[0], AppendEntries)
        answers = self.give("b", Reply(1, 3, False, probes[0].probe))
        self.assertEqual(len(answers), 1)
        assert isinstance(answers[0], AppendEntries)
        self.assertEqual(answers[0].prev_index, 2)
        # What was answered to the attempt before says nothing new.
        self.assertEqual(self.give("b", Reply(1, 3, False, probes[0].probe)), [])
        last = answers[0].entries[-1][1]
        streamed = self.give("b", Reply(1, last + 1, True, answers[0].probe))
        self.assertGreater(len(streamed), 5)

    def test_a_contradiction_in_what_is_committed_halts(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1), commit=4)
        self.append("c", 2, [], prev=(4, 2))
        self.assertEqual(
            engine.halted,
            "entry 4 is committed here, but c, the leader of term 2, has a different one",
        )


class G6Tests(EngineCase):
    """Snapshot and log change as one. (Files: see the tests of the storage.)"""

    def install(self, *terms: int, index: int, term: int) -> Engine:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(*terms))
        state = msgspec.msgpack.encode([b"s"])
        half = len(state) // 2
        first = InstallSnapshot(3, index, term, [A, B, C, D], len(state), 0, state[:half], 4)
        rest = msgspec.structs.replace(first, offset=half, data=state[half:])
        self.assertEqual(self.give("c", first), [SnapshotReply(3, index, half)])
        # A repeat, or one that is not its turn, adds nothing.
        self.assertEqual(self.give("c", first), [SnapshotReply(3, index, half)])
        self.assertEqual(self.give("c", rest), [Reply(3, index + 1, True, 4)])
        self.assertEqual(self.notes.applied, [b"s"])
        self.assertEqual((engine.applied_index, engine.commit_index), (index, index))
        self.assertEqual(engine.configuration, (A, B, C, D))
        return engine

    def test_what_may_be_acknowledged_beyond_stays(self) -> None:
        engine = self.install(1, 1, 1, index=4, term=1)
        self.assertEqual((self.storage[0][1], engine.last_index), (4, 5))

    def test_what_contradicts_goes(self) -> None:
        engine = self.install(1, 1, 1, index=4, term=2)
        self.assertEqual(self.storage[0:9], [(NO_OP, 4, 2)])
        self.assertEqual(engine.last_index, 4)

    def test_all_is_there_after_a_restart(self) -> None:
        self.install(1, index=9, term=2)
        self.storage.sync()
        files = self.storage._files
        assert isinstance(files, FakeFiles)
        engine = self.run_on(Storage.open(files.crash()), A)
        self.assertEqual((engine.applied_index, engine.term), (9, 3))
        self.assertEqual(self.notes.applied, [b"s"])
        self.assertEqual(engine.configuration, (A, B, C, D))

    def test_a_snapshot_has_the_members_as_they_were_applied(self) -> None:
        engine = self.lead(A, B, C, limits=RaftLimits(log=4))
        for number in range(5):
            engine.submit("x", REGULAR + b"%d" % number)
        engine.tick()
        self.confirm(engine, "b")
        change = MemberChange("x", None, "c")
        engine.submit("x", MEMBERSHIP + msgspec.msgpack.encode(change))
        engine.tick()
        self.assertEqual(engine.configuration, (self.own(), B))
        self.assertEqual([each.members for each in self.notes.snapshots], [(A, B, C)])
