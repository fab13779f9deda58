"""
L{alacrity.cluster.secret}: the cluster's secret, and its file.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.secret import SecretError, create, load
from tests.support.places import ROOT


class SecretTests(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name) / "secret"

    def written(self, content: bytes, mode: int = 0o600) -> None:
        self.path.write_bytes(content)
        self.path.chmod(mode)

    def fault(self) -> str:
        """
        The fault of the file, without the file's name.
        """
        message = str(self.assertRaises(SecretError, load, self.path))
        self.assertNotIn("\n", message)
        self.assertTrue(message.startswith(f"{self.path}: "), message)
        return message.removeprefix(f"{self.path}: ")

    def test_created(self) -> None:
        """
        Each is another, and nobody else can read it, whatever the umask.
        """
        self.addCleanup(os.umask, os.umask(0))
        create(self.path)
        first = load(self.path)
        self.assertEqual(len(first), 64)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.path.unlink()
        create(self.path)
        self.assertNotEqual(load(self.path), first)

    def test_not_overwritten(self) -> None:
        self.written(b"precious")
        with self.assertRaisesRegex(SecretError, "exists already, and is not overwritten"):
            create(self.path)
        self.assertEqual(self.path.read_bytes(), b"precious")

    def test_link_is_not_followed(self) -> None:
        self.path.symlink_to(self.path.with_name("elsewhere"))
        self.assertRaises(SecretError, create, self.path)
        self.assertFalse(self.path.exists())

    def test_no_directory(self) -> None:
        with self.assertRaisesRegex(SecretError, "No such file or directory"):
            create(self.path / "secret")

    def test_own(self) -> None:
        """
        A secret that was made in another way, with a line end.
        """
        self.written(b"0123456789abcdef0123456789abcdef\r\n", 0o400)
        self.assertEqual(load(self.path), b"0123456789abcdef0123456789abcdef")

    def test_missing(self) -> None:
        self.assertEqual(self.fault(), "No such file or directory")

    def test_mode(self) -> None:
        for mode in (0o640, 0o604, 0o660, 0o610, 0o602):
            self.written(b"x" * 32, mode)
            self.assertEqual(
                self.fault(), f"its mode {mode:04o} lets others use it; allowed: 0600 or 0400"
            )

    def test_length(self) -> None:
        for length in (0, 31, 4097, 100_000):
            self.written(b" " + b"x" * length if length < 32 else b"x" * length)
            self.assertIn("; allowed: 32 to 4096. ", self.fault())

    def test_not_a_file(self) -> None:
        self.path.mkdir()
        self.assertEqual(self.fault(), "it is not a regular file")
        self.path.rmdir()
        os.mkfifo(self.path, 0o600)
        self.assertEqual(self.fault(), "it is not a regular file")

    def test_command(self) -> None:
        """
        C{python -m alacrity.cluster.secret}.
        """

        def run(*arguments: str) -> tuple[int, str]:
            done = subprocess.run(
                [sys.executable, "-m", "alacrity.cluster.secret", *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            return done.returncode, done.stdout

        self.assertEqual(run(str(self.path)), (0, ""))
        secret = load(self.path)
        self.assertEqual(
            run(str(self.path)),
            (1, f"{self.path}: the file exists already, and is not overwritten\n"),
        )
        self.assertEqual(load(self.path), secret)
        for arguments in ([], ["--help"], ["a", "b"]):
            self.assertEqual(
                run(*arguments), (1, "usage: python -m alacrity.cluster.secret FILE\n")
            )
