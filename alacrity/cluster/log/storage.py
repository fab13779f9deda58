"""
The storage of a node: term, vote, log and snapshot, in memory and in C{raft.log}.

Changes are made in memory at once, and are on disk once L{Storage.sync} returns,
which may block and is for a thread. Nothing may leave the node that depends on changes
which are not on disk. All changes between two syncs are one frame (see
L{alacrity.cluster.log.records}): a crash keeps all of them or none.

A snapshot makes a whole new file, which takes the old one's name when all of it is
on disk. The same happens after a failed write, since nobody knows what that left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Lock
from typing import Final, TypeAlias

from twisted.logger import Logger

from alacrity.cluster.log.compaction import Compaction, CompactionPhase
from alacrity.cluster.log.errors import DamagedLog, StateError
from alacrity.cluster.log.files import Files
from alacrity.cluster.log.journal import StateJournal
from alacrity.cluster.log.newfile import NAME
from alacrity.cluster.log.persistent import PersistentState, fits
from alacrity.cluster.log.records import LogEntry, Record, Snapshot
from alacrity.cluster.log.recovery import recover
from alacrity.cluster.log.takeover import read_former_pool, rename_former_pool
from alacrity.cluster.log.unsynced import UnsyncedChanges
from alacrity.cluster.log.writer import LogWriter
from alacrity.pool.model import Pool

__all__ = ["NAME", "Compaction", "DamagedLog", "FirstLog", "LogEntry", "Snapshot", "Storage"]

FirstLog: TypeAlias = Callable[[Pool], tuple[Snapshot, Sequence[LogEntry]]]
"""Makes the first snapshot, and the log to begin with, of a pool."""

_log: Final = Logger()


def _new_incarnation() -> str:
    return secrets.token_hex(16)


class Storage(StateJournal):
    """
    The persistent state, with the file that it is in.

    All may be called from the reactor's thread while L{sync} or L{Compaction.write} runs
    in another one; at most one of each runs at a time. Nothing but those two, L{open}
    and L{close} blocks or raises L{OSError}.

    @ivar incarnation: 32 random hexadecimal digits, made with the file.
    """

    def __init__(
        self, files: Files, writer: LogWriter, state: PersistentState, *, anew: bool
    ) -> None:
        """
        Not to be called: see L{open}.

        @param anew: whether the file is yet to be written.
        """
        super().__init__(state)
        self.incarnation = writer.incarnation
        self._files = files
        self._writer = writer
        # Guards what follows, and all changes of the state.
        self._lock = Lock()
        self._unsynced = UnsyncedChanges(anew=anew)
        self._compaction: Compaction | None = None

    @classmethod
    def open(
        cls,
        files: Files,
        *,
        fsync: bool = True,
        first: FirstLog | None = None,
        new_incarnation: Callable[[], str] = _new_incarnation,
    ) -> Storage:
        """
        Read the file, or begin one.

        @param fsync: whether to wait for the disk. If not, what is synced survives the
            death of the process, not that of the machine.
        @param first: called, when there is no file yet, with the pool of a node that
            was alone, if there is one; its file is then put aside. L{None}: it is left
            as it is.
        @raise DamagedLog: the file is there, and cannot be understood.
        @raise StateError: the directory cannot be used.
        """
        try:
            recovered = recover(files)
            if recovered is None:
                writer = LogWriter(files, new_incarnation(), fsync=fsync)
                storage = cls(files, writer, _first_state(files, first), anew=True)
            else:
                writer = LogWriter(files, recovered.incarnation, fsync=fsync)
                if recovered.frames is not None:
                    writer.reopen(recovered.frames)
                storage = cls(files, writer, recovered.state, anew=recovered.frames is None)
            if storage.dirty:
                storage.sync()
            if first is not None:
                rename_former_pool(files, log=NAME, taken_over=recovered is None)
        except OSError as error:
            raise StateError(
                f"the state directory {files.directory} cannot be used: {error.strerror or error}"
            ) from error
        return storage

    def _change(self, record: Record, *, urgent: bool = True) -> None:
        with self._lock:
            self._state.apply_record(record)
            self._unsynced.add(record, urgent=urgent)
            if self._compaction is not None:
                self._compaction.add(record)

    # Disk

    @property
    def dirty(self) -> bool:
        """
        Whether there are changes that have to be on disk: any but the commit index, which
        is learnt again.
        """
        return self._unsynced.dirty

    def sync(self) -> None:
        """
        Have all changes on disk that were made before the call. For a thread.

        @raise OSError: they may or may not be. The next call writes all anew, so
            calling again is how to go on.
        """
        with self._lock:
            changes, self._unsynced = self._unsynced, UnsyncedChanges()
            records = self._state.to_records() if changes.anew else changes.records
        try:
            if changes.anew:
                if changes.adopted is not None:
                    changes.adopted.close()
                self._writer.replace(records)
            elif changes.adopted is not None:
                self._writer.install(changes.adopted)
            elif records:
                self._writer.append(records)
        except BaseException:
            with self._lock:
                self._unsynced.require_new_file()
            raise

    def rewrite(self) -> None:
        """
        Write a whole new file from memory. For a thread.

        @raise OSError: as L{sync}.
        """
        with self._lock:
            self._unsynced.require_new_file()
        self.sync()

    def prepare(self, snapshot: Snapshot) -> Compaction:
        """
        Begin to replace the entries up to a snapshot by it. Call L{Compaction.write} in a
        thread, then L{adopt}; the change is on disk after the L{sync} that follows.

        A compaction that was begun before, and not adopted, is discarded.

        @raise ValueError: the snapshot's last entry is not in the log.
        """
        with self._lock:
            state = self._state
            if not fits(snapshot, state.entries):
                raise ValueError("the log lacks the entries of the snapshot")
            if state.snapshot is not None and snapshot.last_index < state.snapshot.last_index:
                raise ValueError("there is a newer snapshot")
            if self._compaction is not None:
                self._compaction.discard()
            # The file of an adopted one has the name that is wanted now.
            self._unsynced.drop_adopted()
            self._compaction = Compaction(self._files, self.incarnation, state.to_records(snapshot))
            return self._compaction

    def adopt(self, compaction: Compaction) -> bool:
        """
        Take the new snapshot, and drop the entries before it.

        @param compaction: its L{Compaction.write} has returned.
        @return: whether it is taken; it is not, if L{replace} or another L{prepare} came
            between, or what it contains was truncated.
        """
        with self._lock:
            current = self._compaction is compaction
            if current:
                self._compaction = None
            taken = current and compaction.phase is CompactionPhase.WRITTEN
            if not taken or not fits(compaction.snapshot, self._state.entries):
                compaction.close()
                return False
            self._unsynced.adopt(compaction)
            self._state.compact(compaction.snapshot)
            return True

    def replace(self, snapshot: Snapshot, entries: Sequence[LogEntry]) -> None:
        """
        Take a snapshot that came from elsewhere, and a log that goes with it, instead of
        the present ones. On disk after the next L{sync}, both or neither.

        @param entries: with the snapshot's last, and its previous one, if any.
        @raise ValueError: they do not fit together.
        """
        gaps = any(b[1] != a[1] + 1 for a, b in pairwise(entries))
        if gaps or not fits(snapshot, entries):
            raise ValueError("the log lacks the entries of the snapshot")
        with self._lock:
            if self._compaction is not None:
                self._compaction.discard()
                self._compaction = None
            self._state.replace(snapshot, entries)
            self._unsynced.require_new_file()

    def close(self) -> None:
        """
        Write what is not written yet, if that is possible, and close the file.
        """
        if self._unsynced.records or self.dirty:
            try:
                self.sync()
            except OSError as error:
                _log.warn(
                    "the last changes are not in {directory}/{name}: {error}",
                    directory=self._files.directory,
                    name=NAME,
                    error=str(error),
                )
        if self._compaction is not None:
            self._compaction.close()
        self._writer.close()

    def onOneSecondTimer(self) -> None:
        """
        Have a commit index that waits go to disk with the next L{sync}.
        """
        self._unsynced.require_sync()

    def _destroy(self) -> None:
        self.close()


def _first_state(files: Files, first: FirstLog | None) -> PersistentState:
    """
    The state of a node without a log: empty, or with the pool of a node that was alone.
    """
    state = PersistentState()
    pool = None if first is None else read_former_pool(files)
    if first is not None and pool is not None:
        snapshot, entries = first(pool)
        assert fits(snapshot, entries)
        state.replace(snapshot, entries)
    return state
