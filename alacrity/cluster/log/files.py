"""
File operations of the log: an interface, L{Files}, and the real directory.

The implementation in C{tests.support.fake_files} can simulate a loss of power at any operation.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final, Protocol

from alacrity.cluster.log.errors import StateError

_LOCK: Final = "lock"


class File(Protocol):
    """
    A file that grows at its end.
    """

    def write(self, data: bytes | bytearray) -> None:
        """
        Append bytes. Once this returns, a crash of this process does not lose them, but a
        crash of the machine may.

        @raise OSError: only a part of the bytes was written, or none.
        """

    def sync(self) -> None:
        """
        Wait until all written bytes are on disk.

        @raise OSError: it is unknown how many of the bytes that were not on disk are there now.
        """

    def close(self) -> None:
        """Close the file."""


class Files(Protocol):
    """
    The files of one directory, by name. Any call may raise L{OSError}.
    """

    @property
    def directory(self) -> str:
        """The path of the directory, for messages."""

    def read(self, name: str) -> bytes | None:
        """The content of a file; L{None}: the file does not exist."""

    def create(self, name: str) -> File:
        """Make an empty file; it replaces any file of the same name."""

    def append(self, name: str) -> File:
        """Open an existing file, to write at its end."""

    def rename(self, old: str, new: str) -> None:
        """Rename a file; it replaces any file of the new name."""

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def sync_names(self) -> None:
        """Wait until all created, renamed and removed names of the directory are on disk."""

    def loss(self, name: str, file: File) -> str | None:
        """
        The reason why an open file is no longer the one of a name in this directory: it was
        removed, or the directory was; L{None}: it still is.
        """


class DirectoryFiles:
    """
    The files of a real directory. The directory is made if it does not exist, and is locked
    against other processes until L{close}.
    """

    def __init__(self, path: Path) -> None:
        """
        @raise StateError: the directory cannot be used, or another process uses it.
        """
        self._path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._lock = self._locked()
            except BaseException:
                os.close(self._directory)
                raise
        except BlockingIOError as error:
            raise StateError(f"the state directory {path} is used by another process") from error
        except OSError as error:
            raise StateError(
                f"the state directory {path} cannot be used: {error.strerror or error}"
            ) from error

    def _locked(self) -> int:
        """
        Open the file that is locked, and lock it.

        @return: its descriptor.
        @raise BlockingIOError: another process has locked it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path / _LOCK, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @property
    def directory(self) -> str:
        return str(self._path)

    def close(self) -> None:
        """
        Unlock the directory.
        """
        os.close(self._lock)
        os.close(self._directory)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str) -> File:
        if not _is_same(self._path, self._directory):
            # It may be a mount point whose disk is away. A log that were written here would
            # be hidden, with the votes in it, once the disk is back.
            raise FileNotFoundError(errno.ENOENT, self._moved)
        if not _is_same(self._path / _LOCK, self._lock):
            before, self._lock = self._lock, self._locked()
            os.close(before)
        return self._open(name, os.O_CREAT | os.O_TRUNC)

    @property
    def _moved(self) -> str:
        return (
            f"the state directory {self._path} was removed or moved, or another one is in its "
            f"place: put it back. If it is lost, stop this node, remove it from its cluster, and "
            f"let it join again, with an empty state directory"
        )

    def loss(self, name: str, file: File) -> str | None:
        if not _is_same(self._path, self._directory):
            return self._moved
        assert isinstance(file, _RealFile)
        path = self._path / name
        return None if file.is_at(path) else f"{path} was removed, or another file is in its place"

    def append(self, name: str) -> File:
        return self._open(name, 0)

    def _open(self, name: str, flags: int) -> File:
        flags |= os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        return _RealFile(os.open(self._path / name, flags, 0o600))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._path / old, self._path / new)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def sync_names(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_same(path: Path, descriptor: int) -> bool:
    """
    Whether an open file or directory is the one at a path.
    """
    try:
        found = os.stat(path, follow_symlinks=True)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(found, os.fstat(descriptor))


class _RealFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def is_at(self, path: Path) -> bool:
        """
        Whether this is the file at a path.
        """
        return _is_same(path, self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
