"""
L{alacrity.cluster.log.files}: the storage on a real directory.
"""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.errors import StateError
from alacrity.cluster.log.files import DirectoryFiles
from alacrity.cluster.log.storage import NAME
from tests.support.fake_files import FakeFiles
from tests.support.logs import (
    Life,
    opened,
    snapshot_of,
    state_of,
)


class DirectoryTests(SynchronousTestCase):
    """
    L{DirectoryFiles}, and a storage on it.
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
        compaction = storage.prepare(snapshot_of(storage, 4))
        compaction.write()
        storage.adopt(compaction)
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

    def test_a_file_that_is_removed(self) -> None:
        """
        It is missed at the next write, which says so. All is written anew in the same directory,
        and the lock is taken again.
        """
        files = self.files()
        storage = opened(files)
        storage.add(b"one", 3, 0)
        storage.sync()
        storage.check()
        for each in self.path.iterdir():
            each.unlink()
        self.assertRaisesRegex(FileNotFoundError, "raft.log was removed", storage.check)
        storage.add(b"two", 4, 0)
        self.assertRaisesRegex(FileNotFoundError, "raft.log was removed", storage.sync)
        storage.sync()
        storage.check()
        self.assertRaisesRegex(StateError, "used by another process", DirectoryFiles, self.path)
        storage.close()
        again = opened(files)
        self.addCleanup(again.close)
        self.assertEqual(state_of(again), state_of(storage))

    def test_a_file_in_its_place(self) -> None:
        """
        Another file of that name is not taken for it.
        """
        storage = opened(self.files())
        self.addCleanup(storage.close)
        (self.path / "other").write_bytes((self.path / NAME).read_bytes())
        (self.path / "other").rename(self.path / NAME)
        self.assertRaisesRegex(FileNotFoundError, "another file is in its place", storage.check)

    def test_a_directory_that_is_away(self) -> None:
        """
        Nothing is written to another one in its place, which may be a mount point. Once it is
        back, the log goes on.
        """
        storage = opened(self.files())
        away = self.path.with_name("away")
        self.path.rename(away)
        for index in (3, 4):
            storage.add(b"x", index, 0)
            for write in (storage.sync, storage.rewrite):
                self.assertRaisesRegex(FileNotFoundError, "was removed or moved", write)
            self.assertRaisesRegex(FileNotFoundError, "was removed or moved", storage.check)
            self.path.mkdir(exist_ok=True)
        self.assertEqual(list(self.path.iterdir()), [])
        self.path.rmdir()
        away.rename(self.path)
        storage.rewrite()
        storage.check()
        storage.close()

    def test_missing(self) -> None:
        files = self.files()
        self.assertIsNone(files.read("nothing"))
        files.remove("nothing")
        self.assertRaises(FileNotFoundError, files.append, "nothing")
