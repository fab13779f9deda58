"""
Tests for L{alacrity.net.guarded}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.guarded import (
    ExposedFile,
    GuardedFileError,
    IrregularFile,
    UnreadableFile,
    read_guarded,
)


class GuardedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"precious")
        self.path.chmod(0o600)

    def read(self, forbidden: int = 0o077, size: int = 99) -> bytes:
        """
        Read the file.
        """
        return read_guarded(self.path, forbidden=forbidden, size=size)

    def test_content(self) -> None:
        """
        At most so many bytes of it.
        """
        self.assertEqual(self.read(), b"precious")
        self.assertEqual(self.read(size=3), b"pre")

    def test_mode(self) -> None:
        """
        Each forbidden bit counts, and no other.
        """
        for mode, forbidden, good in (
            (0o400, 0o077, True),
            (0o640, 0o077, False),
            (0o640, 0o027, True),
            (0o660, 0o027, False),
            (0o601, 0o027, False),
        ):
            self.path.chmod(mode)
            if good:
                self.assertEqual(self.read(forbidden), b"precious")
            else:
                self.assertEqual(self.assertRaises(ExposedFile, self.read, forbidden).mode, mode)

    def test_none(self) -> None:
        """
        A file that is not there, and a pipe, whose other end is not awaited.
        """
        self.path.unlink()
        error = self.assertRaises(UnreadableFile, self.read)
        self.assertEqual(error.reason, "No such file or directory")
        os.mkfifo(self.path, 0o600)
        self.assertRaises(IrregularFile, self.read)
        self.assertTrue(issubclass(IrregularFile, GuardedFileError))
