"""
The process of the command that is run, and the orphans that the first process of a container
has to reap.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from alacrity.cli.status import SIGNALLED


class Child:
    """
    A process that runs a command.

    It has a session of its own, so no key of a terminal (Ctrl-C) reaches it before it has left
    the pool; it can still read from the terminal, which a process group in the background of the
    same session could not.

    @ivar ended: fires with its exit status, as a shell would show it.
    """

    def __init__(
        self,
        command: Sequence[str],
        wait: Callable[[int, int], tuple[int, int]] = os.waitpid,
        kill: Callable[[int, int], object] = os.kill,
    ) -> None:
        """
        @param command: the program and its arguments.
        """
        self._command = command
        self._wait = wait
        self._kill = kill
        self._process: subprocess.Popen[bytes] | None = None
        self.ended: Deferred[int] = Deferred()

    def start(self) -> None:
        """
        Start it, with all open files that this process was given.

        @raise OSError: it cannot be executed.
        """
        self._process = subprocess.Popen(  # noqa: S603 - the command is what the user asks for
            self._command, close_fds=False, start_new_session=True
        )

    def signal(self, number: int) -> None:
        """
        Send it a signal, unless it has ended.
        """
        if self._process is not None and self._process.returncode is None:
            self._kill(self._process.pid, number)

    def suspend(self) -> None:
        """
        Stop all processes of its session's first group and this process, and resume them when
        this process resumes: Ctrl-Z in a terminal.
        """
        process = self._process
        if process is None or process.returncode is not None:
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        self._kill(-process.pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._kill(-process.pid, signal.SIGCONT)

    def reap(self) -> None:
        """
        Reap all processes that have ended: this one, and orphans that the kernel has made
        children of the first process of a container.
        """
        while True:
            try:
                pid, status = self._wait(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self._process
            if process is not None and process.pid == pid:
                code = os.waitstatus_to_exitcode(status)
                # From now on nobody may wait for it, nor send it signals.
                process.returncode = code
                self.ended.callback(code if code >= 0 else SIGNALLED - code)
