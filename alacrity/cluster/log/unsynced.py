"""
The changes of the persistent state that are not on disk yet.
"""

from __future__ import annotations

from alacrity.cluster.log.compaction import Compaction
from alacrity.cluster.log.records import Record


class UnsyncedChanges:
    """
    Changes since the last sync.

    @ivar records: the changes.
    @ivar urgent: whether one of them has to be on disk before anything leaves.
    @ivar anew: whether the file has to be written anew, from memory.
    @ivar adopted: the compaction whose file is to take the log's place.
    """

    def __init__(self, *, anew: bool = False) -> None:
        self.records: list[Record] = []
        self.urgent = False
        self.anew = anew
        self.adopted: Compaction | None = None

    @property
    def dirty(self) -> bool:
        """
        Whether a sync is needed.
        """
        return self.anew or self.urgent or self.adopted is not None

    def add(self, record: Record, *, urgent: bool) -> None:
        """
        Add a change.
        """
        self.records.append(record)
        if self.adopted is not None:
            self.adopted.add(record)
        self.urgent |= urgent

    def require_sync(self) -> None:
        """
        Have the changes, if there are any, be urgent.
        """
        self.urgent |= bool(self.records)

    def require_new_file(self) -> None:
        """
        Have the file be written anew.
        """
        self.anew = True

    def adopt(self, compaction: Compaction) -> None:
        """
        Have the file of a compaction take the log's place.
        """
        self.adopted = compaction

    def drop_adopted(self) -> None:
        """
        Have no compaction take the log's place; if one was to, the file is written anew.
        """
        if self.adopted is not None:
            self.adopted.close()
            self.adopted = None
            self.anew = True
