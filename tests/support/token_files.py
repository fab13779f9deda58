"""
Files with tokens, in a directory of the test's own.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


def token_file(content: bytes, mode: int = 0o600, name: str = "token") -> Path:
    """
    A file with a token, or something else.
    """
    path = Path(name).absolute()
    path.touch(0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


class DirectoryTestCase(SynchronousTestCase):
    """
    Runs in a directory of its own.
    """

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(directory)
