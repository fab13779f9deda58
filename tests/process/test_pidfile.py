"""
Tests for L{alacrity.process.pidfile}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from alacrity.process.pidfile import PidFile, PidFileError, _pid_file_named_by


class PidFileTests(SynchronousTestCase):
    """
    Starts beside a pid file.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def written(self) -> PidFile:
        """A pid file, written."""
        file = PidFile(self.path)
        self.addCleanup(file.remove)
        self.assertEqual(self.path.read_text(), str(os.getpid()))
        return file

    def running(self, *command: str) -> int:
        """The id of another process."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=self.path.parent)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        process.stdout.readline()
        return process.pid

    def test_new(self) -> None:
        """
        It has the process's id, and is removed once.
        """
        file = self.written()
        file.remove()
        self.assertFalse(self.path.exists())
        self.path.write_text("1")
        file.remove()
        self.assertTrue(self.path.exists())

    def test_stale(self) -> None:
        """
        One that is left of a process that is gone, or never was, is written over; so is one
        with the id of this process, and one that a crash left without a number.
        """
        with subprocess.Popen(["true"]) as gone:
            pass
        for content in (
            *(str(gone.pid), f"{gone.pid}\n", str(os.getpid()), "0", "9" * 30),
            *("", "\n", "\0\0\0\0"),
        ):
            self.path.write_text(content)
            self.written().remove()

    def test_other_program(self) -> None:
        """
        So is one whose number another program has now, also a C{twistd} with another pid
        file or none.
        """
        code = "print(flush=True); import time; time.sleep(60)"
        for arguments in (
            (),
            ("twistd", "--pidfile=", "web"),
            ("twistd", "--pidfile", "other", "web"),
            ("twistd", "--pidfile=/nowhere/other", "web"),
            ("twistd", "-n", "web"),
        ):
            self.path.write_text(str(self.running(sys.executable, "-c", code, *arguments)))
            self.written().remove()
        self.path.write_text(str(os.getppid()))
        self.written().remove()

    def test_twistd(self) -> None:
        """
        A C{twistd} that has this pid file, and lives, keeps it.
        """
        code = "print(flush=True); import time; time.sleep(60)"
        for arguments in (
            ("twistd", f"--pidfile={self.path}", "web"),
            ("twistd", "-n", "--pidfile", self.path.name, "web"),
            ("twistd", f"--pid={self.path.name}", "web"),
        ):
            pid = self.running(sys.executable, "-c", code, *arguments)
            self.path.write_text(str(pid))
            with self.assertRaisesRegex(
                PidFileError,
                f"^another twistd runs with the pid file {self.path}, as process {pid};",
            ) as caught:
                PidFile(self.path)
            self.assertFalse(caught.exception.unwritable)
            self.assertEqual(self.path.read_text(), str(pid))

    def test_locked(self) -> None:
        """
        One that is locked is in use, whatever is in it.
        """
        file = self.written()
        for content in (str(os.getpid()), "1", ""):
            self.path.write_text(content)
            with self.assertRaisesRegex(PidFileError, "another twistd runs with the pid file"):
                PidFile(self.path)
        file.remove()
        self.written()

    def test_replaced(self) -> None:
        """
        One that somebody else has put in its place is not removed.
        """
        file = self.written()
        self.path.unlink()
        self.path.write_text("1")
        file.remove()
        self.assertEqual(self.path.read_text(), "1")

    def test_not_a_pid_file(self) -> None:
        """
        A file with something else in it is not written over.
        """
        for content in ("hello", "12 34", "-5", "0x1", "1" * 70):
            self.path.write_text(content)
            with self.assertRaisesRegex(PidFileError, "has something else in it"):
                PidFile(self.path)
            self.assertEqual(self.path.read_text(), content)

    def test_unwritable(self) -> None:
        """
        Where it cannot be written, the line says why, and what to do.
        """
        self.path.mkdir()
        (self.path / "link").symlink_to(self.path / "target")
        for path, why in (
            (self.path, "Is a directory"),
            (self.path / "missing" / "pid", "No such file or directory"),
            (self.path / "link", "it is a link"),
            (Path("/proc/pid"), "No such file or directory"),
        ):
            with self.assertRaises(PidFileError) as caught:
                PidFile(path)
            self.assertEqual(
                str(caught.exception),
                f"the pid file {path} cannot be written: {why}; name another with twistd's "
                "--pidfile, or none with --pidfile=",
            )
            self.assertTrue(caught.exception.unwritable)

    def test_removed_elsewhere(self) -> None:
        """
        It is removed from where it was written, also once its directory has another name.
        """
        directory = self.path
        directory.mkdir()
        self.path = directory / "pid"
        file = self.written()
        moved = directory.rename(f"{directory}-moved")
        file.remove()
        self.assertEqual(list(moved.iterdir()), [])

    def test_command_lines(self) -> None:
        """
        The pid file is known from C{twistd}'s command line.
        """
        for line, expected in (
            ("sleep 60", None),
            ("python /usr/bin/twistd -n web", "twistd.pid"),
            ("python /usr/bin/twistd --pidfile= web", ""),
            ("python -m twisted twistd --pidfile a web", "a"),
            ("python twistd -n --pidf=b web", "b"),
        ):
            self.assertEqual(_pid_file_named_by(line.split(" ")), expected)
