"""
Writing of the log's file, C{raft.log}: frames at its end, new files in its place.
"""

from __future__ import annotations

from alacrity.cluster.log.compaction import Compaction
from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.newfile import NAME, REWRITTEN, make_current, write_new_file
from alacrity.cluster.log.records import Record, encode_frame


class LogWriter:
    """
    The log's file, open for writing. All methods block, and may raise L{OSError}; what
    is on disk is unknown then, and L{replace} is how to go on.

    @ivar incarnation: of the file.
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

    def reopen(self, frames: int) -> None:
        """
        Go on with the file that is there.

        @param frames: how many it has.
        """
        self._use(self._files.append(NAME), frames)

    def append(self, records: list[Record]) -> None:
        """
        Write records as the next frame.
        """
        assert self._file is not None
        self._file.write(encode_frame(self.incarnation, self._frames + 1, records))
        if self._fsync:
            self._file.sync()
        self._frames += 1

    def replace(self, records: list[Record]) -> None:
        """
        Write a whole new file in the place of the present one, if there is one.
        """
        self._use(write_new_file(self._files, REWRITTEN, self.incarnation, records), 1)
        make_current(self._files, REWRITTEN)

    def install(self, compaction: Compaction) -> None:
        """
        Have the file of a compaction take the place of the present one.
        """
        self._use(*compaction.finish())

    def close(self) -> None:
        """
        Close the file.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _use(self, file: File, frames: int) -> None:
        old, self._file = self._file, file
        self._frames = frames
        if old is not None:
            old.close()
