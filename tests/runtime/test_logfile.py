"""
Tests for L{alacrity.runtime.logfile}.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

from twisted.logger import ILogObserver, LogEvent, capturedLogs, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from alacrity.config import LogSettings
from alacrity.runtime import logs
from alacrity.runtime.logfile import LogFile, inside


class LogFileTestCase(SynchronousTestCase):
    """
    Has a log in a file.
    """

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = directory / "log"
        self.file = LogFile.open(str(self.path))
        self.addCleanup(self.file.close)


class ReopenTests(LogFileTestCase):
    """
    The file is opened anew by its name.
    """

    def reopened(self) -> str:
        """The line that is logged when the file is reopened."""
        with capturedLogs() as events:
            self.file.reopen("SIGHUP")
        (event,) = events
        return formatEvent(event)

    def test_renamed(self) -> None:
        """
        As logrotate does it: what comes later is in a file of the old name, of the same mode.
        Nothing is renamed by the log itself.
        """
        self.path.chmod(0o604)
        self.file.write("one\n")
        self.path.rename(self.path.with_suffix(".1"))
        self.file.write("two\n")
        number = self.file.fileno()
        self.assertEqual(self.reopened(), f"SIGHUP: the log {self.path} is opened anew")
        self.file.write("three\n")
        self.assertEqual(self.path.with_suffix(".1").read_text(), "one\ntwo\n")
        self.assertEqual(self.path.read_text(), "three\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o604)
        self.assertEqual(self.file.fileno(), number)
        self.assertFalse(os.get_inheritable(number))
        self.assertEqual(len(list(self.path.parent.iterdir())), 2)

    def test_grows(self) -> None:
        """
        It is the operator's to rotate it: however much is written, there is one file.
        """
        for _ in range(3):
            self.file.write("x" * 1_000_000 + "\n")
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])
        self.assertEqual(self.path.stat().st_size, 3_000_003)

    def test_there_already(self) -> None:
        """
        A file that logrotate has made is appended to, and keeps its mode.
        """
        self.path.rename(self.path.with_suffix(".1"))
        self.path.write_text("zero\n")
        self.path.chmod(0o600)
        self.reopened()
        self.file.write("one\n")
        self.assertEqual(self.path.read_text(), "zero\none\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_truncated(self) -> None:
        """
        A file that is copied and emptied in place goes on at its beginning.
        """
        self.file.write("one\n")
        os.truncate(self.path, 0)
        self.file.write("two\n")
        self.assertEqual(self.path.read_text(), "two\n")

    def test_impossible(self) -> None:
        """
        Where it cannot be opened, the old one is written on, and one line says so.
        """
        self.path.rename(self.path.with_suffix(".1"))
        self.path.mkdir()
        self.assertEqual(
            self.reopened(),
            f"SIGHUP: the log {self.path} cannot be opened anew: Is a directory; the file that is "
            "open is written on",
        )
        self.file.write("one\n")
        self.assertEqual(self.path.with_suffix(".1").read_text(), "one\n")

    def test_pipe_without_reader(self) -> None:
        """
        A pipe that nobody reads does not hold the node up.
        """
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertIn("cannot be opened anew: it is a pipe that nobody reads", self.reopened())
        with self.assertRaises(OSError):
            LogFile.open(str(self.path))

    def test_pipe_whose_reader_stops(self) -> None:
        """
        A pipe that takes a file's place does not hold the node up either, once it is full.
        """
        self.path.unlink()
        os.mkfifo(self.path)
        read = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, read)
        self.assertIn("is opened anew", self.reopened())
        for _ in range(100):
            self.file.write("x" * 9999 + "\n")
        self.assertGreater(self.file._lost, 0)

    def test_no_name(self) -> None:
        """
        Standard output has no name.
        """
        self.file.path = None
        self.assertEqual(self.reopened(), "SIGHUP: the log has no file that could be opened anew")


def _socket_pair() -> tuple[int, int]:
    """The descriptors of two sockets that are connected with each other."""
    one, other = socket.socketpair()
    return one.detach(), other.detach()


class FaultTests(LogFileTestCase):
    """
    A log that cannot be written does no harm.
    """

    def test_closed_pipe(self) -> None:
        """
        Lines to a pipe that nobody reads any more are lost, and nothing is raised, also
        where the log's own complaint comes back to it.
        """
        read, write = os.pipe()
        file = LogFile(write)
        self.addCleanup(file.close)
        observe = logs.observer(LogSettings(), file)
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        os.close(read)
        for _ in range(3):
            file.write("lost\n")
        self.assertEqual(file._lost, 3)
        again, other = os.pipe()
        self.addCleanup(os.close, again)
        os.dup2(other, write)
        os.close(other)
        file.write("there\n")
        said = os.read(again, 65536).decode()
        self.assertTrue(said.startswith("there\n"), said)
        self.assertIn(
            "3 lines of the log are lost, as they could not be written: Broken pipe", said
        )
        self.assertEqual(said.count("\n"), 2)

    def test_stopped_reader(self) -> None:
        """
        Lines that a reader does not take, but could, are lost once there is no more room,
        whatever their length: to a pipe, a socket or a terminal. Nothing waits.
        """
        for kind in (os.pipe, _socket_pair, pty.openpty):
            for size in (1, 100, 4095, 4096, 4097, 200_000):
                with ExitStack() as stack:
                    read, write = kind()
                    stack.callback(os.close, read)
                    file = LogFile(write)
                    stack.callback(file.close)
                    line = "x" * size + "\n"
                    for _ in range(1_000_000 // size):
                        file.write(line)
                        if file._lost == 3:
                            break
                    self.assertEqual(file._lost, 3)
                    self.assertTrue(os.get_blocking(write))
                    poll = select.poll()
                    poll.register(read, select.POLLIN)
                    while poll.poll(0):
                        os.read(read, 65536)
                    with capturedLogs() as events:
                        file.write("there\n")
                    (event,) = events
                    self.assertRegex(
                        formatEvent(event),
                        "^3 lines of the log are lost, .*: their reader does not keep up$",
                    )

    def test_count_is_kept(self) -> None:
        """
        Where the line with the count is lost itself, the next one has the count.
        """
        counts = []
        file = self.file

        @provider(ILogObserver)
        def lose(event: LogEvent) -> None:
            counts.append(event["count"])
            if len(counts) == 1:
                file._lost += 1

        file._lost = 7
        globalLogPublisher.addObserver(lose)
        self.addCleanup(globalLogPublisher.removeObserver, lose)
        file.write("one\n")
        file.write("two\n")
        file.write("three\n")
        self.assertEqual(counts, [7, 7])

    def test_full_disk(self) -> None:
        """
        So are those to a disk that is full.
        """
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, self.file.fileno())
        os.close(full)
        with capturedLogs() as events:
            self.file.write("lost\n")
        self.assertEqual(events, [])
        self.file.reopen("SIGHUP")
        with capturedLogs() as events:
            self.file.write("there\n")
        (event,) = events
        self.assertEqual(
            formatEvent(event),
            "1 lines of the log are lost, as they could not be written: No space left on device",
        )
        self.assertEqual(self.path.read_text(), "there\n")

    def test_torn(self) -> None:
        """
        Text after a line that was cut off begins on a line of its own.
        """
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.set_blocking(write, False)
        file = LogFile(write)
        self.addCleanup(file.close)
        file.write("x" * 1_000_000)
        os.set_blocking(read, False)
        size = len(os.read(read, 1_000_000))
        self.assertLess(size, 1_000_000)
        with capturedLogs():
            file.write("whole\n")
            file.write("also\n")
        self.assertEqual(os.read(read, 100), b"\nwhole\nalso\n")

    def test_not_encodable(self) -> None:
        """
        Characters that the encoding lacks are written as escapes.
        """
        self.file.write("\udcff\n")
        self.assertEqual(self.path.read_text(), "\\udcff\n")


class InsideTests(SynchronousTestCase):
    """
    Paths in a chroot.
    """

    def test_paths(self) -> None:
        """
        A path below the new root is known there by the rest of it, others are not.
        """
        for path, root, expected in (
            ("/a/b/c", None, "/a/b/c"),
            ("/a/b/c", "/a", "/b/c"),
            ("/a/b/c", "/a/", "/b/c"),
            ("/ab/c", "/a", None),
        ):
            self.assertEqual(inside(path, root), expected)
