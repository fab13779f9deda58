"""
L{alacrity.cluster.log.compaction} and L{alacrity.cluster.log.writer}: files that take the
log's place.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.compaction import Compaction, CompactionPhase
from alacrity.cluster.log.newfile import COMPACTED, NAME
from alacrity.cluster.log.records import Append, Snapshot, Term, TruncateFrom, parse_log
from alacrity.cluster.log.writer import LogWriter
from tests.support.fake_files import FakeFiles
from tests.support.logs import INCARNATION, MEMBERS

SNAPSHOT = Snapshot(b"state", 5, 2, MEMBERS, (4, 2))


class CompactionTests(SynchronousTestCase):
    """
    L{Compaction}.
    """

    def setUp(self) -> None:
        self.files = FakeFiles()
        self.compaction = Compaction(self.files, INCARNATION, [SNAPSHOT, Term(3, None)])

    def test_phases(self) -> None:
        self.assertEqual(repr(self.compaction), "<Compaction up to 5: prepared>")
        self.compaction.write()
        self.assertEqual(self.compaction.phase, CompactionPhase.WRITTEN)
        self.compaction.close()
        self.assertEqual(self.compaction.phase, CompactionPhase.DISCARDED)

    def test_discarded_while_it_is_written(self) -> None:
        self.compaction.discard()
        self.compaction.write()
        self.assertEqual(self.compaction.phase, CompactionPhase.DISCARDED)
        self.compaction.close()

    def test_truncation_of_its_entries(self) -> None:
        self.compaction.add(TruncateFrom(6))
        self.assertEqual(self.compaction.phase, CompactionPhase.PREPARED)
        self.compaction.add(TruncateFrom(5))
        self.assertEqual(self.compaction.phase, CompactionPhase.DISCARDED)

    def test_installed(self) -> None:
        """
        With what was added meanwhile; then frames are appended.
        """
        writer = LogWriter(self.files, INCARNATION, fsync=True)
        writer.replace([Term(1, None)])
        self.compaction.write()
        self.assertEqual(set(self.files.content()), {NAME, COMPACTED})
        self.compaction.add(Append(6, 3, b"six"))
        writer.install(self.compaction)
        writer.append([Append(7, 3, b"seven")])
        writer.close()
        parsed = parse_log(self.files.crash().content()[NAME])
        self.assertEqual(
            [records for _, records in parsed.frames],
            [[SNAPSHOT, Term(3, None)], [Append(6, 3, b"six")], [Append(7, 3, b"seven")]],
        )
