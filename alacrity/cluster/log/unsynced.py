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
    @ivar urgent: whether one of them must be on disk before messages leave the node.
    @ivar anew: whether the whole file must be written again, from memory.
    @ivar adopted: the compaction whose file shall replace the log's file.
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
        Make the changes urgent, if there are any.
        """
        self.urgent |= bool(self.records)

    def require_new_file(self) -> None:
        """
        Require that the next sync writes the whole file again.
        """
        self.anew = True

    def adopt(self, compaction: Compaction) -> None:
        """
        Let the next sync replace the log's file by a compaction's file.
        """
        self.adopted = compaction

    def drop_adopted(self) -> None:
        """
        Drop the adopted compaction, if there is one. The next sync then writes the whole file
        again.
        """
        if self.adopted is not None:
            self.adopted.close()
            self.adopted = None
            self.anew = True
