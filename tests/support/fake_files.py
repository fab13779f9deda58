"""
A disk that fails at will.

A crash loses the written bytes that were not synced, or some of them; and the renames,
unless the names were synced.
"""

from __future__ import annotations

import errno
import os
from random import Random

from alacrity.cluster.log.files import File


class Crashed(BaseException):
    """
    The process has ended, in the midst of an operation. (No L{Exception}, so that
    nobody handles it.)
    """


class _Content:
    """
    The content of a file: the synced bytes, and all written ones.
    """

    def __init__(self, synced: bytes = b"") -> None:
        self.synced = synced
        self.written = synced


class FakeFiles:
    """
    The files of one directory, for one run of a process. L{crash} ends the run, and
    gives the files of the next.

    @ivar operations: how many there were, of those that change the disk.
    @ivar crash_at: at which of them the process ends, the first being 0; L{None}:
        never. A write that it ends is half done.
    @ivar fail_at: these raise L{errno}, and are half done.
    @ivar errno: of L{fail_at}.
    @ivar capacity: bytes that fit on the disk; L{None}: any number.
    @ivar read_only: whether all changes are refused.
    @ivar away: whether the directory is gone.
    @ivar syncs: how many times a file was synced.
    """

    directory = "/fake"

    def __init__(self, content: dict[str, bytes] | None = None) -> None:
        self._names = {name: _Content(data) for name, data in (content or {}).items()}
        self._synced_names = dict(self._names)
        self._changes: list[dict[str, _Content]] = []
        self.operations = 0
        self.crash_at: int | None = None
        self.fail_at: set[int] = set()
        self.errno = errno.EIO
        self.capacity: int | None = None
        self.read_only = False
        self.away = False
        self.syncs = 0
        self.crashed = False

    # Files

    def read(self, name: str) -> bytes | None:
        self._run()
        content = self._names.get(name)
        return None if content is None else content.written

    def create(self, name: str) -> File:
        self._operate()
        if self.away:
            raise _error(errno.ENOENT)
        content = self._names[name] = _Content()
        self._name_changed()
        return _FakeFile(self, content)

    def append(self, name: str) -> File:
        self._run()
        if self.read_only:
            raise _error(errno.EROFS)
        if name not in self._names:
            raise _error(errno.ENOENT)
        return _FakeFile(self, self._names[name])

    def rename(self, old: str, new: str) -> None:
        self._operate()
        if old not in self._names:
            raise _error(errno.ENOENT)
        self._names[new] = self._names.pop(old)
        self._name_changed()

    def remove(self, name: str) -> None:
        self._run()
        if name in self._names:
            self._operate()
            del self._names[name]
            self._name_changed()

    def sync_names(self) -> None:
        self._operate()
        self._synced_names = dict(self._names)
        self._changes = []

    def loss(self, name: str, file: File) -> str | None:
        assert isinstance(file, _FakeFile)
        if self.away:
            return "the state directory was removed"
        return None if self._names.get(name) is file.content else f"{name} was removed"

    # The test's side

    def lose(self, name: str) -> None:
        """
        Have somebody remove a file, which may be open.
        """
        del self._names[name]
        self._name_changed()

    def crash(self, rng: Random | None = None, *, power: bool = True) -> FakeFiles:
        """
        End the run, whatever it does.

        @param rng: what of the unsynced is kept by chance; L{None}: nothing.
        @param power: whether the machine lost its power; else the process was killed,
            and all that was written is kept.
        @return: the files as the next run finds them.
        """
        self.crashed = True
        if not power:
            return FakeFiles({name: each.written for name, each in self._names.items()})
        kept = 0 if rng is None else rng.randint(0, len(self._changes))
        names = self._changes[kept - 1] if kept else self._synced_names
        return FakeFiles({name: _survivor(each, rng) for name, each in names.items()})

    def content(self) -> dict[str, bytes]:
        """
        All files, as they are read.
        """
        return {name: each.written for name, each in self._names.items()}

    # Operations

    def _run(self) -> None:
        if self.crashed:
            raise Crashed

    def _operate(self) -> int:
        """
        Count an operation, and raise if it is to fail.
        """
        fault = self._next()
        if fault is not None:
            raise fault
        return 0

    def _next(self) -> BaseException | None:
        self._run()
        number = self.operations
        self.operations += 1
        if number == self.crash_at:
            self.crashed = True
            return Crashed()
        if self.read_only:
            return _error(errno.EROFS)
        if number in self.fail_at:
            return _error(self.errno)
        return None

    def _name_changed(self) -> None:
        self._changes.append(dict(self._names))

    def _used(self) -> int:
        return sum(len(each.written) for each in self._names.values())


class _FakeFile:
    def __init__(self, files: FakeFiles, content: _Content) -> None:
        self._files = files
        self.content = content

    def write(self, data: bytes | bytearray) -> None:
        files = self._files
        fault = files._next()
        room = len(data)
        if files.capacity is not None:
            room = max(0, min(room, files.capacity - files._used()))
        if fault is None and room < len(data):
            fault = _error(errno.ENOSPC)
        elif fault is not None:
            room = 0 if files.read_only else min(room, len(data) // 2)
        self.content.written += data[:room]
        if fault is not None:
            raise fault

    def sync(self) -> None:
        self._files._operate()
        self._files.syncs += 1
        self.content.synced = self.content.written

    def close(self) -> None:
        """Nothing depends on it."""


def _survivor(content: _Content, rng: Random | None) -> bytes:
    """
    The content of a file after a loss of power: the synced bytes and some of the others, at
    times with a hole.
    """
    unsynced = content.written[len(content.synced) :]
    if rng is None or not unsynced:
        return content.synced
    unsynced = unsynced[: rng.choice([0, len(unsynced), rng.randint(0, len(unsynced))])]
    if unsynced and rng.random() < 0.5:
        start = rng.randrange(len(unsynced))
        end = min(len(unsynced), start + rng.randint(1, 64))
        unsynced = unsynced[:start] + bytes(end - start) + unsynced[end:]
    return content.synced + unsynced


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
