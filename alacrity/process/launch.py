"""
A node as an operator starts it: in the background or not, as which user, with which
pid file, and to whom it tells that it serves or why it cannot.
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
"""What C{twistd} sets for a daemon, unless it is told another."""

_LATE: Final = ("encodings.idna", "encodings.latin_1", "klein", "treq")
"""Modules that are otherwise imported at a first request, or later still."""

_DEFAULT_PID_FILE: Final = "twistd.pid"


class LaunchError(Exception):
    """
    An option of C{twistd}'s that the node cannot start with. The message is one line, for
    an operator.
    """


class Launch:
    """
    How this process was started. Without more it is in the foreground, stays the user that
    it is, and writes no pid file.

    @ivar owner: the user to become; L{None}: it stays who it is.
    """

    _log = Logger()

    def __init__(self, owner: Owner | None = None) -> None:
        self.owner = owner
        self._pid_file: PidFile | None = None
        self._daemon = False

    def detach(self, reactor: Any) -> None:
        """
        Go into the background, see L{daemon.detach}.
        """
        daemon.detach(reactor)
        self._daemon = True

    def write_pid_file(self, path: Path, *, needed: bool) -> None:
        """
        Write the pid file, and remove it when this process ends.

        @param needed: without one, do not start.
        @raise PidFileError: a live process has it, or it cannot be written and is needed.
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
        Act as the user that this process will be.
        """
        return nullcontext() if self.owner is None else self.owner.acting()

    def prepare(self, directory: Path) -> None:
        """
        Have the state directory belong to that user.

        @raise OSError: that is not possible.
        """
        if self.owner is not None:
            self.owner.give_directory(directory)

    def hand_over(self, sockets: Iterable[str], log: int | None) -> None:
        """
        Become that user, with all that is to belong to it.

        @param sockets: the paths of the Unix sockets.
        @param log: the descriptor of the log's file.
        @raise OSError: that is not possible.
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
        Tell whoever waits that the node serves.
        """
        if self._daemon:
            daemon.let_go(ready=True)
            self._daemon = False

    def fail(self, fault: str) -> None:
        """
        Tell why the node cannot go on, in one line, and have this process end with a status
        that is not 0, whoever ends it and how.
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
        The same, once the reactor runs. C{twistd} would end with 0 when it stops. Whoever
        waits finds no pid file of this process any more.
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
    See to what C{twistd}'s options ask for, in its place: to be another user, and the pid
    file. They are looked at here for faults that would end in a traceback.

    @param twistd: its options; they are changed, so that it does not do the same.
    @raise LaunchError: they are at fault.
    """
    try:
        started = Launch(owner_of(twistd))
    except OwnerError as error:
        raise LaunchError(str(error)) from None
    twistd["uid"] = twistd["gid"] = None
    root = twistd.get("chroot")
    if root is not None:
        # As seen from the new root. twistd would see it from where it was called.
        twistd["rundir"] = os.path.join("/", os.path.normpath(twistd.get("rundir") or "."))
    _check_directories(root, twistd.get("rundir") or ".")
    return started


def _check_directories(root: str | None, run: str) -> None:
    """
    @raise LaunchError: the directories are not there, or are not allowed.
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
    Go into the background if asked to, and write the pid file.

    @param pid_file: its name, as C{twistd} was given it; empty: there is to be none.
    @raise PidFileError: see L{Launch.write_pid_file}.
    """
    if started.owner is not None or twistd.get("chroot"):
        # Afterwards, Python's own files may be out of reach.
        for module in _LATE:
            importlib.import_module(module)
    _tell_of_faults(started)
    path = Path(pid_file).absolute()
    background = not (twistd.get("nodaemon") or twistd.get("debug"))
    if background:
        started.detach(reactor)
        # Done; what twistd does for a daemon besides is to set its umask.
        twistd["nodaemon"] = True
        if twistd.get("umask") is None:
            twistd["umask"] = DAEMON_UMASK
    if pid_file:
        started.write_pid_file(path, needed=background or pid_file != _DEFAULT_PID_FILE)


def _tell_of_faults(started: Launch) -> None:
    """
    Have what ends this process unexpectedly told where it was started, besides in the log.
    """
    usual = sys.excepthook

    def tell(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
        started.fail(format_exception_only(fault)[-1].strip())
        usual(kind, fault, trace)

    sys.excepthook = tell
