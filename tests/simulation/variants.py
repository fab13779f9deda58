"""
The cluster without one of its guards, or without any: each must fail where the whole
one does not. What stands here is how PySyncObj does it, in the guarded engine's terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from alacrity.cluster.log.files import Files
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import frame, header
from alacrity.cluster.log.storage import NAME, DamagedLog, Storage
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import CannotApply, Peer
from alacrity.cluster.raft.messages import AppendEntries, InstallSnapshot
from alacrity.cluster.raft.raft import LEADER
from alacrity.cluster.wire.handshake import Accept, Identity
from alacrity.cluster.wire.transport import Acquaintances
from tests.simulation.nodes import Node, StockNode


class WithoutG1(Engine):
    """
    Any message of the leader proves the whole log.
    """

    def _verified(self, index: int) -> int:
        return self.last_index

    def _on_install_snapshot(self, peer: Peer, message: InstallSnapshot) -> None:
        super()._on_install_snapshot(peer, message)
        if message.term == self.term:
            self._commit(min(message.last_index, self.last_index))


class WithoutG2(Engine):
    """
    Each message truncates.
    """

    def _take(self, message: AppendEntries) -> bool:
        log = self._SyncObj__raftLog
        at = message.prev_index + 1 - log[0][1]
        if 0 < at < len(log):
            log.deleteEntriesFrom(at)
        self._SyncObj__raftCommitIndex = min(self.commit_index, self.last_index)
        for command, index, term in message.entries:
            if index == self.last_index + 1:
                log.add(command, index, term)
        self._configure()
        return True


class WithoutG3(Engine):
    """
    Any number of changes may be under way.
    """

    def _settled(self) -> bool:
        first = self._SyncObj__noopIDx
        return first is not None and self.applied_index >= first


class WithoutG4(Engine):
    """
    Replies carry no term.
    """

    def _counts(self, peer: Peer, term: int) -> bool:
        super()._counts(peer, term)
        return self.role == LEADER and peer in self._peers


class WithoutG5(Engine):
    """
    Any reply says where to go on, and nobody waits for it.
    """

    def _on_mismatch(self, peer: Peer, message: AppendEntries) -> None:
        index = message.prev_index
        if index > self.last_index:
            index = self.last_index + 1
        self._reply(peer, index, message.probe, success=False)

    def _probe(self, peer: Peer, index: int) -> None:
        super()._probe(peer, index)
        self._probes[peer] = 0
        self._probing.discard(peer)

    def _replicate(self, peer: Peer) -> None:
        self._limits = msgspec.structs.replace(self._limits, ahead=1 << 60)
        super()._replicate(peer)


class InPlace(Storage):
    """
    G6: a new file is written in the old one's place, and one that is damaged is begun
    anew.
    """

    @classmethod
    def open(cls, files: Files, **options: Any) -> Storage:
        try:
            return super().open(files, **options)
        except DamagedLog:
            files.remove(NAME)
            return super().open(files, **options)

    def sync(self) -> None:
        with self._lock:
            if self._adopted is not None:
                self._adopted.abandon()
                self._adopted = None
                self._whole = True
            if not self._whole:
                whole = False
            else:
                whole = True
                self._pending, self._whole, self._urgent = [], False, False
                records = self._kept.records(None)
        if not whole:
            super().sync()
            return
        file = self._files.create(NAME)
        self._files.sync_names()
        file.write(header(self.incarnation))
        for number, record in enumerate(records, 1):
            file.write(frame(self.incarnation, number, [record]))
        file.sync()
        self._replace_file(file, len(records))


class WithoutG7(Engine):
    """
    What cannot be applied is applied again and again, or passed over.
    """

    def _SyncObj__applyLogEntries(self) -> bool:
        log = self._SyncObj__raftLog
        for index in range(self.applied_index + 1, self.commit_index + 1):
            command = log[index - log[0][1]][0]
            try:
                if command[:1] == b"\0":
                    self._machine.apply(command[1:])
                self._SyncObj__raftLastApplied = index
            except CannotApply:
                self._SyncObj__raftLastApplied = index
        return False


class WithoutG8(Node):
    """
    Nobody looks at the clock.
    """

    patience = 1e9


class WithoutIncarnations(Node):
    """
    Whoever has a member's name is that member, whatever became of its files.
    """

    @staticmethod
    def acquaintances(
        known: Callable[[str], Member | None], storage: Storage, format: Callable[[], int]
    ) -> Accept:
        acquaintances = Acquaintances(known, storage, format)

        def accept(peer: Identity) -> str | None:
            refusal = acquaintances(peer)
            return refusal if known(peer.name) is None else None

        return accept


VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "guarded": {},
    "stock": {"node": StockNode},
    "without-G1": {"engine": WithoutG1},
    "without-G2": {"engine": WithoutG2},
    "without-G3": {"engine": WithoutG3},
    "without-G4": {"engine": WithoutG4},
    "without-G5": {"engine": WithoutG5},
    "without-G6": {"storage": InPlace},
    "without-G7": {"engine": WithoutG7},
    "without-G8": {"node": WithoutG8},
    "without-incarnations": {"node": WithoutIncarnations},
}
