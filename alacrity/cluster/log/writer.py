"""
The writer of the log's file, C{raft.log}: it appends frames, or replaces the file.
"""

from __future__ import annotations

import errno
from threading import Lock

from alacrity.cluster.log.compaction import Compaction
from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.newfile import NAME, REWRITTEN, make_current, write_new_file
from alacrity.cluster.log.records import Record, encode_frame


class LogWriter:
    """
    The log's file, open for writing. All methods block, and may raise L{OSError}. After an
    error, the content on disk is unknown, and L{replace} must be called. They may be called in
    several threads.

    @ivar incarnation: the incarnation in the file's header.
    """

    def __init__(self, files: Files, incarnation: str, *, fsync: bool) -> None:
        """
        @param fsync: whether L{append} waits for the disk.
        """
        self.incarnation = incarnation
        self._files = files
        self._fsync = fsync
        self._file: File | None = None
        self._frames = 0
        self._lock = Lock()

    def reopen(self, frames: int) -> None:
        """
        Continue to write the existing file.

        @param frames: the number of frames in the file.
        """
        self._use(self._files.append(NAME), frames)

    def append(self, records: list[Record]) -> None:
        """
        Write records as the next frame.

        @raise OSError: they are not on disk; or they are in a file that nobody will find.
        """
        with self._lock:
            assert self._file is not None
            self._file.write(encode_frame(self.incarnation, self._frames + 1, records))
            if self._fsync:
                self._file.sync()
            self._frames += 1
            self._check()

    def check(self) -> None:
        """
        Check that the file that is written is still the one of its name.

        @raise OSError: it was removed or replaced.
        """
        with self._lock:
            self._check()

    def _check(self) -> None:
        loss = None if self._file is None else self._files.loss(NAME, self._file)
        if loss is not None:
            raise FileNotFoundError(errno.ENOENT, loss)

    def replace(self, records: list[Record]) -> None:
        """
        Write a complete new file, which replaces the present one, if there is one.
        """
        with self._lock:
            self._use(write_new_file(self._files, REWRITTEN, self.incarnation, records), 1)
            make_current(self._files, REWRITTEN)

    def install(self, compaction: Compaction) -> None:
        """
        Replace the present file by a compaction's file.
        """
        with self._lock:
            self._use(*compaction.finish())

    def close(self) -> None:
        """
        Close the file.
        """
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _use(self, file: File, frames: int) -> None:
        old, self._file = self._file, file
        self._frames = frames
        if old is not None:
            old.close()
