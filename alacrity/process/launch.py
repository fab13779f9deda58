"""
The launch of the process: foreground or background, user, pid file, and the report to
whoever started it that the node serves or why it cannot.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from traceback import format_exception_only
from types import TracebackType
from typing import Any, Final

from twisted.logger import Logger

from alacrity.process import daemon
from alacrity.process.owner import Owner, OwnerError, owner_of
from alacrity.process.pidfile import PidFile, PidFileError

DAEMON_UMASK: Final = 0o077
"""C{twistd}'s own default umask for a daemon."""

_LATE: Final = ("encodings.idna", "encodings.latin_1", "klein", "treq")
"""Modules that would otherwise be imported at the first request or later."""

_DEFAULT_PID_FILE: Final = "twistd.pid"


class LaunchError(Exception):
    """
    An invalid option of C{twistd}. The message is one line, for an operator.
    """


class Launch:
    """
    The way in which this process was started. By default it is in the foreground, keeps its
    user, and writes no pid file.

    @ivar owner: the user to become; L{None}: the present one.
    """

    _log = Logger()

    def __init__(self, owner: Owner | None = None) -> None:
        self.owner = owner
        self._pid_file: PidFile | None = None
        self._daemon = False

    def detach(self, reactor: Any) -> None:
        """
        Go into the background; see L{daemon.detach}.
        """
        daemon.detach(reactor)
        self._daemon = True

    def write_pid_file(self, path: Path, *, needed: bool) -> None:
        """
        Write the pid file, and remove it when this process ends.

        @param needed: whether a file that cannot be written is a failure.
        @raise PidFileError: a live process holds it, or it cannot be written and is needed.
        """
        try:
            self._pid_file = PidFile(path)
        except PidFileError as error:
            if needed or not error.unwritable:
                raise
            self._log.info("going on without a pid file: {why}", why=str(error))
            return
        if self.owner is not None:
            self._pid_file.give(self.owner)
        atexit.register(self.end)

    def acting(self) -> AbstractContextManager[None]:
        """
        Act as the user to become, for the time of a C{with}.
        """
        return nullcontext() if self.owner is None else self.owner.acting()

    def prepare(self, directory: Path) -> None:
        """
        Create the state directory, or change its owner, for the user to become.

        @raise OSError: that failed.
        """
        if self.owner is not None:
            self.owner.give_directory(directory)

    def hand_over(self, sockets: Iterable[str], log: int | None) -> None:
        """
        Change the owner of sockets and log, and become that user.

        @param sockets: the paths of the Unix sockets.
        @param log: the descriptor of the log's file.
        @raise OSError: that failed.
        """
        owner = self.owner
        if owner is None:
            return
        for path in sockets:
            owner.give_socket(path)
        if log is not None:
            owner.give_file(log)
        owner.become()
        self._log.info("running as user {uid}, group {gid}", uid=os.geteuid(), gid=os.getegid())

    def ready(self) -> None:
        """
        Report to the waiting process that the node serves.
        """
        if self._daemon:
            daemon.let_go(ready=True)
            self._daemon = False

    def fail(self, fault: str) -> None:
        """
        Report in one line why the node cannot go on, on standard error and to the waiting
        process.
        """
        # twistd has put its log in the place of sys.stderr.
        if sys.__stderr__ is not None:
            try:
                print(f"alacrity: {fault}", file=sys.__stderr__, flush=True)
            except OSError:
                pass  # The log has it too.
        if self._daemon:
            daemon.let_go(ready=False)
            self._daemon = False

    def fail_running(self, fault: str) -> None:
        """
        Report a failure once the reactor runs, and make the exit status 1: C{twistd} would end
        with 0 when the reactor stops. The pid file is removed first, so that whoever waits finds
        none.
        """
        self.end()
        self.fail(fault)
        atexit.register(self._exit)

    def _exit(self) -> None:
        self.end()
        os._exit(1)

    def end(self) -> None:
        """
        Remove the pid file.
        """
        if self._pid_file is not None:
            self._pid_file.remove()


def launch(twistd: MutableMapping[str, Any]) -> Launch:
    """
    Take over C{twistd}'s options about the user and the directories, and report the faults
    in them that would end in a traceback.

    @param twistd: its options; those that are taken over are reset.
    @raise LaunchError: an option is invalid.
    """
    try:
        started = Launch(owner_of(twistd))
    except OwnerError as error:
        raise LaunchError(str(error)) from None
    twistd["uid"] = twistd["gid"] = None
    root = twistd.get("chroot")
    if root is not None:
        # Relative to the new root. twistd would take it relative to where it was called.
        twistd["rundir"] = os.path.join("/", os.path.normpath(twistd.get("rundir") or "."))
    _check_directories(root, twistd.get("rundir") or ".")
    return started


def _check_directories(root: str | None, run: str) -> None:
    """
    @raise LaunchError: a directory does not exist, or is not accessible.
    """
    if root is not None:
        if os.geteuid() != 0:
            raise LaunchError("--chroot: only root can do that; start it as root")
        _check_directory("--chroot", root)
        run = os.path.join(root, run.lstrip("/"))
    _check_directory("--rundir", run)


def _check_directory(option: str, path: str) -> None:
    if not os.path.isdir(path):
        raise LaunchError(f"{option}: found {path!r}; allowed: a directory that is there")
    if not os.access(path, os.X_OK):
        raise LaunchError(f"{option}: {path}: Permission denied")


def go(started: Launch, reactor: Any, twistd: MutableMapping[str, Any], pid_file: str) -> None:
    """
    Go into the background if the options ask for it, and write the pid file.

    @param pid_file: its name, as C{twistd} was given it; empty: none.
    @raise PidFileError: see L{Launch.write_pid_file}.
    """
    if started.owner is not None or twistd.get("chroot"):
        # Afterwards, Python's own files may be out of reach.
        for module in _LATE:
            importlib.import_module(module)
    _report_uncaught(started)
    path = Path(pid_file).absolute()
    background = not (twistd.get("nodaemon") or twistd.get("debug"))
    if background:
        started.detach(reactor)
        # All that twistd does for a daemon besides is to set its umask.
        twistd["nodaemon"] = True
        if twistd.get("umask") is None:
            twistd["umask"] = DAEMON_UMASK
    if pid_file:
        started.write_pid_file(path, needed=background or pid_file != _DEFAULT_PID_FILE)


def _report_uncaught(started: Launch) -> None:
    """
    Install a hook that reports an uncaught exception where the process was started, besides
    in the log.
    """
    usual = sys.excepthook

    def report(
        kind: type[BaseException], fault: BaseException, trace: TracebackType | None
    ) -> None:
        started.fail(format_exception_only(fault)[-1].strip())
        usual(kind, fault, trace)

    sys.excepthook = report
