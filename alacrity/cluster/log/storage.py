"""
The storage of a node: term, vote, log and snapshot, in memory and in C{raft.log}.

Changes are made in memory at once. They are on disk when L{Storage.sync} returns, which may
block and so runs in a thread. A message that depends on changes which are not on disk must not
leave the node. All changes between two syncs are one frame (see
L{alacrity.cluster.log.records}): after a crash, either all of them are there or none.

For a snapshot, a complete new file is written, which gets the old file's name when it is on
disk. The same is done after a failed write, because the content of the file is unknown then.
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
"""Makes the first snapshot and the first log from a pool."""

_log: Final = Logger()


def _new_incarnation() -> str:
    return secrets.token_hex(16)


class Storage(StateJournal):
    """
    The persistent state, with its file.

    All methods may be called from the reactor's thread while L{sync} or L{Compaction.write}
    runs in another one; at most one of each runs at a time. Only these two, L{rewrite}, L{open}
    and L{close} block or raise L{OSError}.

    @ivar incarnation: 32 random hexadecimal digits, chosen when the file was first made.
    """

    def __init__(
        self, files: Files, writer: LogWriter, state: PersistentState, *, anew: bool
    ) -> None:
        """
        For internal use: call L{open} instead.

        @param anew: whether the whole file must be written.
        """
        super().__init__(state)
        self.incarnation = writer.incarnation
        self._files = files
        self._writer = writer
        # Protects the variables below, and all changes of the state.
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
        Read the file, or begin a new one.

        @param fsync: whether to wait for the disk. If not, synced changes survive a crash of
            the process, but not of the machine.
        @param first: called with the pool in a former pool file, if there is one and the log
            does not exist yet; the pool file is then renamed. L{None}: a former pool file is
            left as it is.
        @raise DamagedLog: the file is damaged.
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
        Whether there are changes that must be on disk before messages leave the node: all but
        those of the commit index, which the node learns again after a crash.
        """
        return self._unsynced.dirty

    def sync(self) -> None:
        """
        Write all changes that were made before the call to disk. Runs in a thread.

        @raise OSError: some changes may be on disk, or none. The next call writes the whole
            file again.
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

    def check(self) -> None:
        """
        Check that the file is still there. Runs in a thread.

        @raise OSError: it was removed or replaced, or the directory was.
        """
        self._writer.check()

    def rewrite(self) -> None:
        """
        Write a complete new file from memory. Runs in a thread.

        @raise OSError: as for L{sync}.
        """
        with self._lock:
            self._unsynced.require_new_file()
        self.sync()

    def prepare(self, snapshot: Snapshot) -> Compaction:
        """
        Begin a compaction, which replaces the entries up to a snapshot by the snapshot. Call
        L{Compaction.write} in a thread, then L{adopt}; the change is on disk after the next
        L{sync}.

        An earlier compaction that was not adopted is discarded.

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
            # The new file needs the name of an adopted compaction's file.
            self._unsynced.drop_adopted()
            self._compaction = Compaction(self._files, self.incarnation, state.to_records(snapshot))
            return self._compaction

    def adopt(self, compaction: Compaction) -> bool:
        """
        Adopt a compaction: set its snapshot, and drop the entries before it.

        @param compaction: a compaction whose L{Compaction.write} has returned.
        @return: whether the compaction is adopted. It is not if L{replace} or L{prepare} was
            called meanwhile, or entries in its snapshot were truncated.
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
        Replace the snapshot and the log by others, such as the leader's. After the next L{sync},
        both are on disk; after a crash before that, neither is.

        @param entries: the log, which must contain the last entry of the snapshot, and the
            previous one if the snapshot names it.
        @raise ValueError: the entries do not fit the snapshot, or have gaps.
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
        Write the remaining changes, if possible, and close the file.
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
        Let the next L{sync} write a waiting commit index.
        """
        self._unsynced.require_sync()

    def _destroy(self) -> None:
        self.close()


def _first_state(files: Files, first: FirstLog | None) -> PersistentState:
    """
    The state of a node without a log: empty, or with the pool of the former pool file.
    """
    state = PersistentState()
    pool = None if first is None else read_former_pool(files)
    if first is not None and pool is not None:
        snapshot, entries = first(pool)
        assert fits(snapshot, entries)
        state.replace(snapshot, entries)
    return state
