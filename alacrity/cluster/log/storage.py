"""
What a node must not forget: term, vote, log and snapshot, in C{raft.log}.

Changes are made in memory at once, and are on disk once L{Storage.sync} returns,
which may block and is for a thread. Whoever uses this must not let anything leave
the node that depends on changes which are not on disk. All changes between two syncs
are one frame (see L{alacrity.cluster.log.records}): a crash keeps all of them or none.

A snapshot makes a whole new file, which takes the old one's name when all of it is
on disk. The same happens after a failed write, since nobody knows what that left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Lock
from typing import Final, SupportsIndex, TypeAlias, overload

from pysyncobj.journal import Journal
from twisted.logger import Logger

from alacrity.cluster.log.errors import DamagedLog, StateError
from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.kept import Kept, fits, replay
from alacrity.cluster.log.records import (
    Append,
    Commit,
    Damage,
    Entry,
    Peer,
    Record,
    Snapshot,
    Term,
    TruncateFrom,
    TruncateTo,
    frame,
    parse,
)
from alacrity.cluster.log.rewrite import COMPACTED, NAME, Rewrite, take_place, whole_file
from alacrity.cluster.log.takeover import read_former_pool, rename_former_pool
from alacrity.pool.model import Pool

__all__ = ["NAME", "DamagedLog", "Entry", "First", "Rewrite", "Snapshot", "Storage"]

_NEW: Final = "raft.log.new"

First: TypeAlias = Callable[[Pool], tuple[Snapshot, Sequence[Entry]]]
"""Makes the first snapshot, and the log to begin with, of a pool."""

_log: Final = Logger()


def _new_incarnation() -> str:
    return secrets.token_hex(16)


class Storage(Journal):  # type: ignore[misc] # it is not annotated
    """
    The engine's journal, and what else a node must keep.

    All may be called from the reactor's thread while L{sync} or L{Rewrite.write} runs
    in another one; at most one of each runs at a time. Nothing but those two, L{open},
    L{flush} and L{close} blocks or raises L{OSError}.

    @ivar incarnation: 32 hexadecimal digits, made by chance with the file.
    """

    def __init__(self, files: Files, incarnation: str, kept: Kept, *, fsync: bool) -> None:
        """
        Not to be called: see L{open}.
        """
        self.incarnation = incarnation
        self._files = files
        self._kept = kept
        self._fsync = fsync
        # Guards what follows, and all changes of what is kept.
        self._lock = Lock()
        self._pending: list[Record] = []
        self._urgent = False
        self._whole = True
        self._file: File | None = None
        self._frames = 0
        self._rewrite: Rewrite | None = None
        self._adopted: Rewrite | None = None

    @classmethod
    def open(
        cls,
        files: Files,
        *,
        fsync: bool = True,
        first: First | None = None,
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
            return cls._open(files, fsync, first, new_incarnation)
        except OSError as error:
            raise StateError(
                f"the state directory {files.directory} cannot be used: {error.strerror or error}"
            ) from error

    @classmethod
    def _open(
        cls, files: Files, fsync: bool, first: First | None, new_incarnation: Callable[[], str]
    ) -> Storage:
        content = files.read(NAME)
        for leftover in (_NEW, COMPACTED):
            files.remove(leftover)
        if content is not None:
            storage = cls._load(files, content, fsync=fsync)
        else:
            kept = Kept()
            pool = None if first is None else read_former_pool(files)
            if first is not None and pool is not None:
                snapshot, entries = first(pool)
                assert fits(snapshot, entries)
                kept.snapshot, kept.commit = snapshot, snapshot.last_index
                kept.replace_log(entries)
            storage = cls(files, new_incarnation(), kept, fsync=fsync)
        if storage.dirty:
            storage.sync()
        if first is not None:
            rename_former_pool(files, log=NAME, taken_over=content is None)
        return storage

    @classmethod
    def _load(cls, files: Files, content: bytes, *, fsync: bool) -> Storage:
        try:
            parsed = parse(content)
            kept = replay(parsed)
        except Damage as damage:
            raise DamagedLog(
                f"{files.directory}/{NAME} is damaged at byte {damage.offset}: {damage}. This "
                f"node cannot know how it voted. To go on: remove it from the cluster, move "
                f"the file away, and let the node join again, empty"
            ) from damage
        storage = cls(files, parsed.incarnation, kept, fsync=fsync)
        if parsed.torn is None and parsed.frames:
            storage._file = files.append(NAME)
            storage._frames = len(parsed.frames)
            storage._whole = False
        if parsed.torn is not None:
            _log.warn(
                "the last write to {directory}/{name} was not finished: {count} bytes "
                "from byte {at} are dropped; nobody was told that they were kept",
                directory=files.directory,
                name=NAME,
                count=len(content) - parsed.torn,
                at=parsed.torn,
            )
        return storage

    # What is kept beside the journal

    @property
    def snapshot(self) -> Snapshot | None:
        """
        The last one that was taken or installed, on disk or on its way there.
        """
        return self._kept.snapshot

    @property
    def size(self) -> int:
        """
        Bytes of the log's commands.
        """
        return self._kept.size

    @property
    def peers(self) -> dict[str, str]:
        """
        The incarnations of members that the log does not tell, and of who is about to be
        one, as they were first met, by name.
        """
        return dict(self._kept.peers)

    def remember_peer(self, name: str, incarnation: str) -> None:
        """
        Keep a member's incarnation.
        """
        if self._kept.peers.get(name) != incarnation:
            self._change(Peer(name, incarnation))

    def forget_peer(self, name: str) -> None:
        """
        Forget a member's incarnation.
        """
        if name in self._kept.peers:
            self._change(Peer(name, None))

    # Disk

    @property
    def dirty(self) -> bool:
        """
        Whether something is not on disk that matters: anything but the commit index,
        which is learnt again.
        """
        return self._whole or self._urgent or self._adopted is not None

    def sync(self) -> None:
        """
        Have all changes on disk that were made before the call. For a thread.

        @raise OSError: they may or may not be. The next call writes all anew, so
            calling again is how to go on.
        """
        with self._lock:
            records, self._pending = self._pending, []
            adopted, self._adopted = self._adopted, None
            whole, self._whole = self._whole, False
            self._urgent = False
            if whole:
                records = self._kept.records(None)
        try:
            if whole:
                if adopted is not None:
                    adopted.abandon()
                file = whole_file(self._files, _NEW, self.incarnation, records)
                self._replace_file(file, 1)
                take_place(self._files, _NEW)
            elif adopted is not None:
                self._replace_file(*adopted.finish())
            elif records:
                assert self._file is not None
                self._file.write(frame(self.incarnation, self._frames + 1, records))
                if self._fsync:
                    self._file.sync()
                self._frames += 1
        except BaseException:
            with self._lock:
                self._whole = True
            raise

    def _replace_file(self, file: File, frames: int) -> None:
        old, self._file = self._file, file
        self._frames = frames
        if old is not None:
            old.close()

    def rewrite(self) -> None:
        """
        Write a whole new file from memory. For a thread.

        @raise OSError: as L{sync}.
        """
        with self._lock:
            self._whole = True
        self.sync()

    def prepare(self, snapshot: Snapshot) -> Rewrite:
        """
        Begin to replace the entries up to a snapshot by it. Call L{Rewrite.write} in a
        thread, then L{adopt}; the change is on disk after the L{sync} that follows.

        One that was begun before, and not adopted, is abandoned.

        @raise ValueError: the snapshot's last entry is not in the log.
        """
        with self._lock:
            kept = self._kept
            if not fits(snapshot, kept.log):
                raise ValueError("the log has not the entries of the snapshot")
            if kept.snapshot is not None and snapshot.last_index < kept.snapshot.last_index:
                raise ValueError("there is a newer snapshot")
            if self._rewrite is not None:
                self._rewrite.abandoned = True
            if self._adopted is not None:
                # Its file has the name that is wanted now.
                self._adopted.abandon()
                self._adopted = None
                self._whole = True
            self._rewrite = Rewrite(self._files, self.incarnation, kept.records(snapshot))
            return self._rewrite

    def adopt(self, rewrite: Rewrite) -> bool:
        """
        Take the new snapshot, and drop the entries before it.

        @param rewrite: its L{Rewrite.write} has returned.
        @return: whether it is taken; it is not, if L{replace} or another L{prepare} came
            between, or what it contains was truncated.
        """
        with self._lock:
            kept = self._kept
            current = self._rewrite is rewrite
            if current:
                self._rewrite = None
            taken = current and rewrite.is_written and not rewrite.abandoned
            if not taken or not fits(rewrite.snapshot, kept.log):
                rewrite.abandon()
                return False
            self._adopted = rewrite
            kept.snapshot = rewrite.snapshot
            kept.drop_before(rewrite.snapshot.first_kept)
            return True

    def replace(self, snapshot: Snapshot, entries: Sequence[Entry]) -> None:
        """
        Take a snapshot that came from elsewhere, and a log that goes with it, instead of
        what there is. On disk after the next L{sync}, both or neither.

        @param entries: with the snapshot's last, and its previous one, if any.
        @raise ValueError: they do not fit together.
        """
        gaps = any(b[1] != a[1] + 1 for a, b in pairwise(entries))
        if gaps or not fits(snapshot, entries):
            raise ValueError("the log has not the entries of the snapshot")
        with self._lock:
            if self._rewrite is not None:
                self._rewrite.abandoned = True
                self._rewrite = None
            kept = self._kept
            kept.snapshot = snapshot
            kept.replace_log(entries)
            kept.commit = max(kept.commit, snapshot.last_index)
            self._whole = True

    def close(self) -> None:
        """
        Write what is not written yet, if that is possible, and close the file.
        """
        if self._pending or self.dirty:
            try:
                self.sync()
            except OSError as error:
                _log.warn(
                    "the last changes are not in {directory}/{name}: {error}",
                    directory=self._files.directory,
                    name=NAME,
                    error=str(error),
                )
        for rewrite in (self._rewrite, self._adopted):
            if rewrite is not None:
                rewrite.abandon()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    # The journal's interface, which is the engine's

    def _change(self, record: Record, *, urgent: bool = True) -> None:
        with self._lock:
            self._kept.take(record)
            self._pending.append(record)
            if self._rewrite is not None:
                self._rewrite.note(record)
            if self._adopted is not None:
                self._adopted.note(record)
            if urgent:
                self._urgent = True

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._change(Append(idx, term, bytes(command)))

    def clear(self) -> None:
        """
        Drop all entries. A snapshot is installed with L{replace}, not with this.
        """
        self.deleteEntriesFrom(0)

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """
        @param entryFrom: a position, not an index.
        """
        log = self._kept.log
        if entryFrom < len(log):
            self._change(TruncateFrom(log[entryFrom][1]))

    def deleteEntriesTo(self, entryTo: int) -> None:
        """
        @param entryTo: a position, not an index.
        @raise ValueError: no snapshot stands in for the entries.
        """
        log = self._kept.log
        if entryTo <= 0 or not log:
            return
        index = log[0][1] + min(entryTo, len(log))
        if self.snapshot is None or index > self.snapshot.last_index:
            raise ValueError(f"no snapshot contains the entries before {index}")
        self._change(TruncateTo(index))

    @overload
    def __getitem__(self, item: SupportsIndex) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: SupportsIndex | slice) -> Entry | list[Entry]:
        return self._kept.log[item]

    def __len__(self) -> int:
        return len(self._kept.log)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        if (term, votedForNodeId) != (self._kept.term, self._kept.vote):
            self._change(Term(term, votedForNodeId))

    def getCurrentTerm(self) -> int:
        return self._kept.term

    def getVotedForNodeId(self) -> str | None:
        return self._kept.vote

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        if raftCommitIndex != self._kept.commit:
            self._change(Commit(raftCommitIndex), urgent=False)

    def getRaftCommitIndex(self) -> int:
        """
        At most as high as what is kept allows.
        """
        log = self._kept.log
        return min(self._kept.commit, log[-1][1]) if log else 1

    def onOneSecondTimer(self) -> None:
        """
        Let a commit index that waits go to disk with the next L{sync}.
        """
        if self._pending:
            self._urgent = True

    def flush(self) -> None:
        """
        Have all on disk. It blocks.
        """
        self.sync()

    def _destroy(self) -> None:
        self.close()
