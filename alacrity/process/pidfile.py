"""
The pid file, and the recognition of a stale one.

It is locked for as long as the process lives, so that a file left by a crash is told from one
in use, whatever process has the id by now. In a container the next process often has the very
same id.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from alacrity.process.owner import Owner


class PidFileError(Exception):
    """
    A pid file that keeps the node from starting. The message is one line, for an operator.

    @ivar unwritable: whether no process uses the file, but it cannot be written.
    """

    def __init__(self, message: str, *, unwritable: bool = False) -> None:
        super().__init__(message)
        self.unwritable = unwritable


class PidFile:
    """
    The pid file of this process.
    """

    def __init__(self, path: Path) -> None:
        """
        Write the file, over a stale one if there is one.

        @raise PidFileError: a live C{twistd} holds it, it is no pid file, or it cannot be
            written.
        """
        path = path.absolute()
        try:
            # The file is removed through this, also after a chroot or a rename.
            self._directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unwritable(path, error) from None
        self._name = path.name
        self._file = -1
        try:
            self._file = self._locked(path)
            content = os.read(self._file, 64)
            _refuse_if_used(content, path)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, b"%d" % os.getpid(), 0)
        except OSError as error:
            self._close()
            raise _unwritable(path, error) from None
        except PidFileError:
            self._close()
            raise

    def _locked(self, path: Path) -> int:
        """
        Open the file, and lock it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            file = os.open(self._name, flags, 0o644, dir_fd=self._directory)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                content = os.read(file, 64).decode("ascii", "replace").strip()
                os.close(file)
                raise _used(path, content or "unknown") from None
            except OSError:
                return file  # A file system without locks.
            if self._is_current(file):
                return file
            # The process that held it removed it between the two calls.
            os.close(file)

    def _is_current(self, file: int) -> bool:
        """
        Whether the name still leads to this file.
        """
        try:
            there = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(file))

    def give(self, owner: Owner) -> None:
        """
        Make a user the owner of the file.
        """
        owner.give_file(self._file)

    def remove(self) -> None:
        """
        Remove the file, or empty it if the directory is not writable. A second call does
        nothing.
        """
        if self._file < 0:
            return
        try:
            if self._is_current(self._file):
                os.unlink(self._name, dir_fd=self._directory)
        except OSError:
            try:
                os.ftruncate(self._file, 0)
            except OSError:
                pass  # Its lock is gone, which shows that it is stale.
        self._close()

    def _close(self) -> None:
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1


def _unwritable(path: Path, error: OSError) -> PidFileError:
    why = "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
    return PidFileError(
        f"the pid file {path} cannot be written: {why}; name another with twistd's --pidfile, "
        "or none with --pidfile=",
        unwritable=True,
    )


def _used(path: Path, pid: str) -> PidFileError:
    return PidFileError(
        f"another twistd runs with the pid file {path}, as process {pid}; stop that, or name "
        "another file with twistd's --pidfile, or none with --pidfile="
    )


def _refuse_if_used(content: bytes, path: Path) -> None:
    """
    @raise PidFileError: a live process uses the file, or it is no pid file.
    """
    text = content.strip(b"\0 \t\r\n")
    if not text:
        return  # A crash came before the number was written.
    if not text.isdigit() or len(content) >= 64:
        raise PidFileError(
            f"the pid file {path} has something else in it than the id of a process; remove it, "
            "or name another with twistd's --pidfile"
        )
    pid = int(text)
    if pid not in {0, os.getpid()} and _lives(pid) and _is_twistd_with(pid, path):
        raise _used(path, str(pid))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _is_twistd_with(pid: int, path: Path) -> bool:
    """
    Whether a live process is a C{twistd} that was started with this pid file.
    """
    process = Path("/proc") / str(pid)
    try:
        arguments = [os.fsdecode(each) for each in (process / "cmdline").read_bytes().split(b"\0")]
    except OSError:
        # Without /proc it may be one.
        return not Path("/proc/self/cmdline").exists()
    named = _pid_file_named_by(arguments)
    if not named:
        return False
    try:
        there = Path(os.readlink(process / "cwd"))
    except OSError:
        return Path(named).name == path.name
    return os.path.realpath(there / named) == os.path.realpath(path)


def _pid_file_named_by(arguments: Sequence[str]) -> str | None:
    """
    The pid file on a command line of C{twistd}.

    @return: L{None}: it is the command line of another program.
    """
    if not any(
        os.path.basename(each) == "twistd" or "twisted.scripts.twistd" in each
        for each in arguments[:6]
    ):
        return None
    named = "twistd.pid"
    for at, argument in enumerate(arguments):
        # getopt accepts unambiguous prefixes of a name.
        if argument.startswith("--pi"):
            _, equals, value = argument.partition("=")
            named = value if equals else "".join(arguments[at + 1 : at + 2])
    return named
