"""
The application of committed entries.
"""

from __future__ import annotations

from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import RaftLimits
from alacrity.cluster.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    Reply,
)
from tests.cluster.raft.engines import PEERS, A, B, C, EngineCase
from tests.simulation.variants import (
    WithoutG7,
)


class G7Tests(EngineCase):
    """A committed entry is applied once, or halts the node."""

    def newer(self, engine: type[Engine]) -> Engine:
        made = self.make(A, B, C, engine=engine)
        entries = self.entries(1, 1)
        entries.insert(1, (REGULAR + b"newer", 4, 1))
        entries[2] = (entries[2][0], 5, 1)
        self.append("b", 1, entries, commit=5)
        made.tick()
        made.tick()
        return made

    def test_what_is_not_understood_halts(self) -> None:
        engine = self.newer(Engine)
        self.assertEqual(engine.halted, "entry 4 is committed, and not understood: it is newer")
        self.assertEqual(self.notes.applied, [b"3@1"])
        self.assertEqual(self.append("b", 2, []), [])

    def test_without_the_guard_the_node_diverges(self) -> None:
        self.newer(WithoutG7)
        self.assertEqual(self.notes.applied, [b"3@1", b"4@1"])

    def test_a_newer_snapshot_halts(self) -> None:
        engine = self.make(A, B, C)
        replies = self.give("b", InstallSnapshot(1, 9, 1, [A, B, C], 5, 0, b"newer", 4))
        self.assertEqual(replies, [])
        self.assertEqual(engine.halted, "the leader's snapshot cannot be installed: it is newer")
        self.assertEqual(engine.applied_index, 2)

    def test_an_entry_of_an_unknown_kind_halts(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, [(b"\x09", 3, 1)], commit=3)
        engine.tick()
        assert engine.halted is not None
        self.assertIn("not understood", engine.halted)

    def test_commands_that_not_all_understand_are_not_appended(self) -> None:
        engine = self.lead(A, B)
        self.notes.version = 2
        before = engine.last_index
        engine.submit("x", REGULAR + b"v2")
        engine.tick()
        unheard = ("not all members have reported yet whether they understand this command", False)
        self.assertEqual(self.notes.denials, [unheard])
        self.give("b", Reply(1, before + 1, True, 1 << 30))
        engine.submit("x", REGULAR + b"v2")
        engine.tick()
        self.assertEqual(
            self.notes.denials, [unheard, ("not all members understand this command", True)]
        )
        self.assertEqual(engine.last_index, before)
        self.give("b", Reply(1, before + 1, True, 1 << 30, version=2))
        engine.submit("x", REGULAR + b"v2")
        engine.tick()
        self.assertEqual(engine.last_index, before + 1)

    def test_what_a_member_understood_before_is_asked_again(self) -> None:
        """
        A peer that connects again, or has a new leader, may run another program by now.
        """
        engine = self.lead(A, B)
        self.notes.version = 2

        def appended() -> bool:
            before = engine.last_index
            engine.submit("x", REGULAR + b"v2")
            engine.tick()
            return engine.last_index > before

        def said() -> None:
            reply = Reply(engine.term, engine.last_index + 1, True, 1 << 30, version=2)
            self.give("b", reply)

        said()
        self.assertTrue(appended())
        self.sent._onNodeConnected(PEERS["b"])
        self.assertFalse(appended())
        said()
        self.assertTrue(appended())
        self.give("b", AppendEntries(engine.term + 1, 2, 2, 0, [], 1))
        self.elect(engine)
        self.assertFalse(appended())
        said()
        self.assertTrue(appended())

    def test_what_is_no_message_is_passed_over(self) -> None:
        engine = self.make(A, B, C)
        for wrong in ({}, {"type": "x"}, {"type": "append_entries", "term": "1"}, [1]):
            self.sent._onMessageReceived(PEERS["b"], wrong)
        self.assertEqual((engine.term, engine.halted), (0, None))


class PartsTests(EngineCase):
    """
    How much one step applies.
    """

    def test_a_step_applies_so_many_bytes(self) -> None:
        """
        At least one entry, and then as many as fit: what else is due is not held up.
        """
        engine = self.make(A, limits=RaftLimits(applied_bytes=100))
        engine.tick()
        for number, size in enumerate((90, 9, 90, 500, 10, 10, 10)):
            engine.submit(str(number), b"\0" + size * b"x")
        applied = []
        for _ in range(6):
            engine.begin_step()
            for _ in range(3):
                engine.tick()
            applied.append(len(self.notes.applied))
        self.assertEqual(applied, [1, 2, 3, 4, 7, 7])
