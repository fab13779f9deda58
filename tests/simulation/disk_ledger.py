"""
The simulated disks of all nodes, compared with what is committed, as they change.
"""

from __future__ import annotations

from typing import Any, Protocol

from tests.simulation.durable import Durable, Names
from tests.simulation.ledger import Ledger
from tests.simulation.promises import INVARIANTS
from tests.simulation.world import Time
from tests.support.fake_files import FakeFiles


class Observed(Protocol):
    """
    A node whose disk and engine can be looked at.
    """

    name: str
    files: FakeFiles
    time: Time
    replica: Any
    transport: Any


class DiskLedger(Ledger):
    """
    A L{Ledger} that sees what is on disk.

    @ivar committed: the term of each entry that any node took for committed, by index.
    @ivar last_committed: the highest of these indices.
    """

    def __init__(self, world: Any) -> None:
        super().__init__(world)
        self.nodes: dict[str, Observed] = {}
        self.disks: dict[str, Durable] = {}
        self._lost_disks: dict[str, list[Durable]] = {}
        self.committed: dict[int, int] = {2: 0}
        # The term in which an index was committed. A node that is still in an earlier one
        # may lose the entry, as it is not one of those that count.
        self._committed_during: dict[int, int] = {2: 0}
        self.last_committed = 2
        self._committed_members: list[tuple[int, Names]] = []
        self._entries: dict[tuple[int, int], tuple[bytes, int | None]] = {}

    def break_(self, invariant: str, text: str) -> None:
        """
        Note a violation of one of L{INVARIANTS}.
        """
        assert invariant in INVARIANTS, invariant
        self.violate(f"{invariant}: {text}")

    def watch(self, node: Observed) -> None:
        """
        Follow a node from now on.
        """
        self.nodes[node.name] = node
        self.disks[node.name] = Durable(self._appended, self._truncated)

    def disk(self, name: str) -> Durable:
        """
        The present content of a node's disk.
        """
        disk = self.disks[name]
        term, vote, incarnation = disk.term, disk.vote, disk.incarnation
        common = min(disk.last_index, self.last_committed)
        had = (
            common > 0
            and disk.has(common, self.committed.get(common, -1))
            and term >= self._committed_during.get(common, 0)
        )
        snapshot = disk.snapshot
        disk.refresh(self.nodes[name].files)
        if disk.incarnation == incarnation != "":
            if (disk.term, disk.vote) != (term, vote) and (
                disk.term < term or (disk.term == term and vote is not None)
            ):
                self.break_(
                    "disk keeps",
                    f"{name} had term {term} and vote {vote} on disk, now {disk.term}, {disk.vote}",
                )
            if had and not disk.has(common, self.committed.get(common, -1)):
                self.break_("disk keeps", f"{name} had entry {common}, which is committed")
        if disk.snapshot != snapshot and disk.snapshot[0]:
            index, last_term = disk.snapshot
            if index > self.last_committed or self.committed.get(index, last_term) != last_term:
                self.break_(
                    "snapshot of commits",
                    f"{name} has a snapshot up to {index} of term {last_term}, not committed",
                )
            self._check_members(name, index, disk.snapshot_members)
        return disk

    def _check_members(self, name: str, index: int, names: Names) -> None:
        for at, members in reversed(self._committed_members):
            if at <= index:
                if sorted(members) != sorted(names):
                    self.break_(
                        "snapshot of commits",
                        f"{name} has a snapshot up to {index} with {names}, "
                        f"the members are {members}",
                    )
                return

    def wiped(self, name: str) -> None:
        """
        A node has lost its files. What it confirmed before, it had.
        """
        self.disk(name)
        self._lost_disks.setdefault(name, []).append(self.disks[name])
        self.disks[name] = Durable(self._appended, self._truncated)

    def found(self, name: str) -> None:
        """
        A node has the files again that it lost last.
        """
        self.disks[name] = self._lost_disks[name].pop()

    def _has(self, name: str, index: int, term: int) -> bool:
        return name in self.nodes and (
            self.disk(name).has(index, term)
            or any(each.has(index, term) for each in self._lost_disks.get(name, ()))
        )

    def _appended(self, disk: Durable, index: int, term: int, command: bytes) -> None:
        if index == disk.snapshot[0]:
            # It stands for the entry that the snapshot ends with, and need not be it.
            return
        before = disk.term_at(index - 1)
        known = self._entries.setdefault((index, term), (command, before))
        if known[0] != command or (None not in {known[1], before} and known[1] != before):
            self.break_("log matching", f"entry {index} of term {term} is not the same everywhere")
        elif known[1] is None and before is not None:
            self._entries[index, term] = command, before

    def _truncated(self, disk: Durable, index: int) -> None:
        known = self.committed.get(index)
        if (
            known is not None
            and disk.has(index, known)
            and disk.term >= self._committed_during.get(index, 0)
        ):
            self.break_("committed stays", f"entry {index} of term {known} is truncated on a disk")
