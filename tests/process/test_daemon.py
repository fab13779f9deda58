"""
Tests for L{alacrity.process.daemon}: who waits for a daemon. The daemon itself is in
L{tests.system.test_node}.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from alacrity.process import daemon
from alacrity.process.launch import Launch


class WaitTests(SynchronousTestCase):
    """
    The output and the exit status of the waiting process.
    """

    def waited(self, said: bytes) -> tuple[int, bytes]:
        """
        The output for a daemon's messages until it ends or lets go.
        """
        read, write = os.pipe()
        answer, output = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, answer)
        os.write(write, said)
        os.close(write)
        try:
            status = daemon.wait(read, output)
        finally:
            os.close(output)
        return status, os.read(answer, 65536)

    def test_serves(self) -> None:
        """
        All that it said is passed on.
        """
        self.assertEqual(self.waited(daemon.READY), (0, b""))
        self.assertEqual(self.waited(b"a warning\n" + daemon.READY), (0, b"a warning\n"))

    def test_fails(self) -> None:
        """
        One line says why, whatever was said.
        """
        for said, line in (
            (b"", f"alacrity: {daemon.NOTHING_SAID}"),
            (b"alacrity: why\n", "alacrity: why"),
            (b"Traceback:\n  x\nValueError: y\n", "alacrity: ValueError: y"),
            (b"x\nalacrity: why\nTraceback:\nValueError: y\n", "alacrity: why"),
            (b"\xff\n", "alacrity: \ufffd"),
        ):
            self.assertEqual(self.waited(said), (1, f"{line}\n".encode()))

    def test_nobody_listens(self) -> None:
        """
        Where nothing can be said, the status is told all the same.
        """
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        os.close(write)
        gone, output = os.pipe()
        os.close(gone)
        self.addCleanup(os.close, output)
        self.assertEqual(daemon.wait(read, output), 1)


class RunningTests(SynchronousTestCase):
    """
    A fault of a daemon whose reactor runs.
    """

    def test_pid_file(self) -> None:
        """
        The pid file is gone when the process that waits is let go.
        """
        path = Path(self.mktemp())
        launch = Launch()
        launch.write_pid_file(path, needed=True)
        self.addCleanup(atexit.unregister, launch.end)
        self.addCleanup(atexit.unregister, launch._exit)
        self.patch(launch, "_daemon", True)
        there: list[bool] = []
        self.patch(daemon, "let_go", lambda *, ready: there.append(path.exists()))
        self.patch(sys, "__stderr__", None)
        self.assertTrue(path.exists())
        launch.fail_running("why")
        self.assertEqual(there, [False])
