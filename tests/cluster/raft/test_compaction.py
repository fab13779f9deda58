"""
How much a log holds.
"""

from __future__ import annotations

from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import RaftLimits
from tests.cluster.raft.engines import A, EngineCase


class CompactionTests(EngineCase):
    """
    How much a log holds.
    """

    def fill(self, engine: Engine, count: int, size: int) -> None:
        for number in range(count):
            engine.submit(str(number), b"\0" + size * b"x")
            for _ in range(3):
                engine.tick()

    def adopt(self) -> None:
        """
        Put the latest snapshot in the place of the entries before.
        """
        rewrite = self.storage.prepare(self.notes.snapshots[-1])
        rewrite.write()
        self.assertTrue(self.storage.adopt(rewrite))

    def test_a_log_of_long_entries_is_compacted(self) -> None:
        engine = self.make(A, limits=RaftLimits(log_bytes=10_000))
        self.fill(engine, 10, 900)
        self.assertEqual(self.notes.snapshots, [])
        self.fill(engine, 2, 900)
        self.assertEqual(len(self.notes.snapshots), 1)
        # Not again and again, while the file is written or cannot be.
        self.fill(engine, 3, 900)
        self.assertEqual(len(self.notes.snapshots), 1)
        self.fill(engine, 10, 900)
        self.assertEqual(len(self.notes.snapshots), 3)
        self.adopt()
        self.assertLess(self.storage.size, 3000)
        self.fill(engine, 5, 900)
        self.assertEqual(len(self.notes.snapshots), 3)
        # The state is so large by now that the log may be half as large.
        self.assertGreater(len(self.notes.encode()), 20_000)
        self.fill(engine, 8, 900)
        self.assertEqual(len(self.notes.snapshots), 4)

    def test_the_size_of_a_log(self) -> None:
        """
        It is told after all that happens to it.
        """
        engine = self.make(A, limits=RaftLimits(log=20))
        self.fill(engine, 30, 50)
        self.adopt()
        self.storage.deleteEntriesFrom(len(self.storage) - 3)
        entries = self.storage[:]
        self.assertEqual(self.storage.size, sum(len(command) for command, _, _ in entries))
        again = Storage.open(self.storage._files.crash())  # type: ignore[attr-defined]
        self.assertEqual(again.size, sum(len(command) for command, _, _ in again[:]))
