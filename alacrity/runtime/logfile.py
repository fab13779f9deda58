"""
The file of the log. It can be reopened by name, and a write that fails neither blocks nor
stops the node.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from twisted.logger import Logger

MODE: Final = 0o640
"""The mode of a new log: the owner writes, the group may read. The umask applies."""

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
"""Not blocking, in case it is a pipe: without a reader, opening one would wait for it."""

_PIECE: Final = 4096
"""Bytes that a pipe takes without blocking once it says that it takes any (C{PIPE_BUF})."""

_LATE: Final = "their reader does not keep up"

_log: Final = Logger()


class LogFile:
    """
    A file descriptor that lines are written to at once, without a buffer: a signal handler
    may write while another line is being written.

    A line that cannot be written (a full disk, a closed pipe, or one whose reader does not
    keep up) is lost and counted. The count is logged once writing is possible again.

    @ivar path: the file's name; L{None}: no name leads to it now, as for standard output,
        or for a file outside of the chroot.
    """

    def __init__(self, descriptor: int, path: str | None = None, encoding: str = "utf-8") -> None:
        self._descriptor = descriptor
        self.path = path
        self._encoding = encoding
        self._lost = 0
        self._why = ""
        self._torn = False
        self._waits = _may_wait(descriptor)
        self._output = descriptor if path is not None else _own_output(descriptor)

    @classmethod
    def open(cls, path: str, acting: AbstractContextManager[object] | None = None) -> LogFile:
        """
        Open a file for appending; create it if it does not exist.

        @param acting: the user that the node will run as, for the time of a C{with}. The
            file is opened as that user where it can be, so that no link of the user's
            leads to a file that only root may write.
        @raise OSError: it cannot be opened.
        """
        if acting is None:
            return cls(os.open(path, _FLAGS | os.O_CREAT, MODE), path)
        try:
            with acting:
                return cls(os.open(path, _FLAGS | os.O_CREAT, MODE), path)
        except PermissionError:
            return cls(os.open(path, _FLAGS | os.O_CREAT | os.O_NOFOLLOW, MODE), path)

    def fileno(self) -> int:
        """The descriptor. It stays the same when the file is reopened."""
        return self._descriptor

    def write(self, text: str) -> None:
        """
        Write text; if that fails, count the line as lost.
        """
        data = text.encode(self._encoding, "backslashreplace")
        if self._torn:
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                if self._waits and not _has_room(self._output):
                    raise BlockingIOError
                rest = rest[os.write(self._output, rest[:_PIECE] if self._waits else rest) :]
        except OSError as error:
            self._lost += 1
            late = isinstance(error, BlockingIOError)
            self._why = _LATE if late else error.strerror or str(error)
            self._torn = self._torn or len(rest) < len(data)
            return
        self._torn = False
        if self._lost:
            # Set before the line is logged, which comes here again.
            lost, self._lost = self._lost, 0
            _log.error(
                "{count} lines of the log are lost, as they could not be written: {why}",
                count=lost,
                why=self._why,
            )
            if self._lost:
                # That line is lost as well, but not the count.
                self._lost += lost - 1

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def close(self) -> None:
        """Close the file."""
        for each in {self._descriptor, self._output}:
            os.close(each)

    def reopen(self, cause: str) -> None:
        """
        Reopen the file by its name, after a rename. If that fails, keep the old one. Either is
        logged.

        @param cause: the signal that asked for it, for the line in the log.
        """
        if self.path is None:
            _log.info("{cause}: the log has no file that could be opened anew", cause=cause)
            return
        try:
            new = self._opened_anew(self.path)
        except OSError as error:
            _log.error(
                "{cause}: the log {path} cannot be opened anew: {why}; the file that is open is "
                "written on",
                cause=cause,
                path=self.path,
                why=why(error),
            )
            return
        os.dup2(new, self._descriptor, inheritable=False)
        os.close(new)
        self._waits = _may_wait(self._descriptor)
        self._torn = False
        _log.info("{cause}: the log {path} is opened anew", cause=cause, path=self.path)

    def _opened_anew(self, path: str) -> int:
        try:
            new = os.open(path, _FLAGS)
        except FileNotFoundError:
            old = os.fstat(self._descriptor)
            new = os.open(path, _FLAGS | os.O_CREAT, MODE)
            if stat.S_ISREG(old.st_mode):
                # The mode of the old file: a daemon has another umask than its log was made with.
                os.fchmod(new, stat.S_IMODE(old.st_mode))
        return new


def why(error: OSError) -> str:
    """
    The cause of a failure to open a log, in a few words.
    """
    if error.errno == errno.ENXIO:
        return "it is a pipe that nobody reads"
    return error.strerror or str(error)


def _may_wait(descriptor: int) -> bool:
    """
    Whether a write may block until somebody reads: never for a regular file.
    """
    try:
        return not stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return True


def _own_output(descriptor: int) -> int:
    """
    A descriptor for writing. A terminal reports room where it has less than enough, so it is
    opened once more as non-blocking. Making the descriptor itself non-blocking would affect
    all that share it, such as the shell.
    """
    if os.isatty(descriptor):
        try:
            return os.open(f"/dev/fd/{descriptor}", _FLAGS | os.O_NOCTTY)
        except OSError:
            pass  # It belongs to another user.
    return descriptor


def _has_room(descriptor: int) -> bool:
    """
    Whether a write of C{_PIECE} bytes succeeds or fails without blocking.
    """
    # A new object for each call: a signal handler may call this during another call.
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def inside(path: str, root: str | None) -> str | None:
    """
    The path of a file after a chroot.

    @return: L{None}: the file cannot be reached from there.
    """
    if root is None:
        return path
    real, top = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    return f"/{real.relative_to(top)}" if real.is_relative_to(top) else None
