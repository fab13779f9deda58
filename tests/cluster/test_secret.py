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

from alacrity.cluster.secret import SecretError, add, create, load, remove, swap
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
        (first,) = load(self.path)
        self.assertEqual(len(first), 64)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.path.unlink()
        create(self.path)
        self.assertNotEqual(load(self.path), (first,))

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
        self.assertEqual(load(self.path), (b"0123456789abcdef0123456789abcdef",))

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

    def test_weak(self) -> None:
        """
        A pass phrase that is short is called weak; nothing of it is shown.
        """
        self.written(b"correct horse battery staple")
        self.assertEqual(
            self.fault(),
            "it has 28 bytes; allowed: 32 to 4096. So short a pass phrase is weak, for it can be "
            "guessed. `python -m alacrity.cluster.secret FILE` makes a good one",
        )
        for content in (b"", b"x" * 4097):
            self.written(content)
            self.assertNotIn("weak", self.fault())

    def test_two(self) -> None:
        """
        Two secrets, in their order, without what is around them.
        """
        one, two = b"1" * 32, b"2" * 4096
        for content in (
            one + b"\n" + two,
            one + b"\r\n" + two + b"\r\n",
            b"\n " + one + b" \n\t" + two + b"\n\n",
        ):
            self.written(content)
            self.assertEqual(load(self.path), (one, two))

    def test_bad_lines(self) -> None:
        good = b"g" * 32
        for content, fault in (
            (good + b"\nshort", "line 2 has 5 bytes; allowed: 32 to 4096. "),
            (b"short\n" + good, "line 1 has 5 bytes; allowed: 32 to 4096. "),
            (
                good + b"\n" + b"h" * 32 + b"\n" + b"i" * 32,
                "it has 3 lines; allowed: one secret in one line, or 2 while the secret is changed",
            ),
            (
                good + b"\n" + good,
                "both lines are the same secret; allowed: two secrets, or one",
            ),
        ):
            self.written(content)
            self.assertTrue(self.fault().startswith(fault), self.fault())

    def test_steps(self) -> None:
        """
        The three steps of a change; each keeps mode and owner, and replaces the file as one.
        """
        create(self.path)
        self.path.chmod(0o400)
        (old,) = load(self.path)
        inode = self.path.stat().st_ino
        for step in (swap, remove):
            with self.assertRaisesRegex(SecretError, "it has one secret only: --add a second one"):
                step(self.path)
        add(self.path)
        first, new = load(self.path)
        self.assertEqual((first, len(new)), (old, 64))
        self.assertNotEqual(self.path.stat().st_ino, inode)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o400)
        with self.assertRaisesRegex(SecretError, "it has 2 secrets already"):
            add(self.path)
        swap(self.path)
        self.assertEqual(load(self.path), (new, old))
        remove(self.path)
        self.assertEqual(load(self.path), (new,))
        self.assertEqual(os.listdir(self.path.parent), ["secret"])

    def test_steps_through_a_link(self) -> None:
        """
        Where the path is a link, the file that it leads to is replaced.
        """
        create(self.path)
        link = self.path.with_name("link")
        link.symlink_to("secret")
        add(link)
        self.assertTrue(link.is_symlink())
        self.assertEqual(len(load(self.path)), 2)

    def test_step_that_fails(self) -> None:
        """
        The file stays as it was.
        """
        create(self.path)
        before = self.path.read_bytes()

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        for name in ("fsync", "fchown"):
            self.patch(os, name, fail)
            with self.assertRaisesRegex(SecretError, "cannot be replaced: No space left"):
                add(self.path)
            self.assertEqual(self.path.read_bytes(), before)
            self.assertEqual(os.listdir(self.path.parent), ["secret"])

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
        self.assertEqual(run("--add", str(self.path)), (0, ""))
        self.assertEqual(len(load(self.path)), 2)
        for arguments in ([], ["--help"], ["a", "b"], ["--add"], ["--add", "--swap"], ["--x", "a"]):
            self.assertEqual(
                run(*arguments),
                (
                    1,
                    "usage: python -m alacrity.cluster.secret [--add | --swap | --remove] FILE\n",
                ),
            )
