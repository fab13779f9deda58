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
from alacrity.cluster.log.records import encode_frame, encode_header
from alacrity.cluster.log.storage import NAME, DamagedLog, Storage
from alacrity.cluster.log.unsynced import UnsyncedChanges
from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.applying import Applying
from alacrity.cluster.raft.engine import Engine, Rooms
from alacrity.cluster.raft.environment import CannotApply, Environment
from alacrity.cluster.raft.following import Following
from alacrity.cluster.raft.messages import AppendEntries, InstallSnapshot
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.reconfiguration import Reconfiguration
from alacrity.cluster.raft.replication import Replication
from alacrity.cluster.wire.admission import PeerAdmission
from alacrity.cluster.wire.handshake import AdmissionCheck, Identity
from tests.simulation.nodes import Node, StockNode


class _FollowingWithoutG1(Following):
    def verified(self, index: int) -> int:
        return self._raft.last_index

    def on_install_snapshot(self, peer: Peer, message: InstallSnapshot) -> None:
        super().on_install_snapshot(peer, message)
        if message.term == self._raft.term:
            self._raft.commit(min(message.last_index, self._raft.last_index))


class WithoutG1(Engine):
    """
    Any message of the leader proves the whole log.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, Rooms(following=_FollowingWithoutG1))


class _AdapterWithoutG2(RaftAdapter):
    def uncommit(self, index: int) -> None:
        """Take no more for committed than up to an index."""
        self._SyncObj__raftCommitIndex = min(self.commit_index, index)


class _FollowingWithoutG2(Following):
    def take(self, message: AppendEntries) -> bool:
        raft, log = self._raft, self._raft.log
        at = message.prev_index + 1 - log[0][1]
        if 0 < at < len(log):
            log.deleteEntriesFrom(at)
        assert isinstance(raft, _AdapterWithoutG2)
        raft.uncommit(raft.last_index)
        for command, index, term in message.entries:
            if index == raft.last_index + 1:
                log.add(command, index, term)
        self._reconfiguration.configure()
        return True


class WithoutG2(Engine):
    """
    Each message truncates.
    """

    def __init__(self, environment: Environment) -> None:
        rooms = Rooms(adapter=_AdapterWithoutG2, following=_FollowingWithoutG2)
        super().__init__(environment, rooms)


class _ReconfigurationWithoutG3(Reconfiguration):
    def is_settled(self) -> bool:
        first = self._raft.no_op_index
        return first is not None and self._raft.applied_index >= first


class WithoutG3(Engine):
    """
    Any number of changes may be under way.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, Rooms(reconfiguration=_ReconfigurationWithoutG3))


class _ReplicationWithoutG4(Replication):
    def counts(self, peer: Peer, term: int) -> bool:
        return self._raft.role == LEADER and peer in self.peers


class WithoutG4(Engine):
    """
    Replies carry no term.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, Rooms(replication=_ReplicationWithoutG4))


class _FollowingWithoutG5(Following):
    def on_mismatch(self, peer: Peer, message: AppendEntries) -> None:
        index = message.prev_index
        if index > self._raft.last_index:
            index = self._raft.last_index + 1
        self.reply(peer, index, message.probe, success=False)


class _ReplicationWithoutG5(Replication):
    def probe(self, peer: Peer, index: int) -> None:
        super().probe(peer, index)
        self.probes[peer] = 0
        self.probing.discard(peer)

    def send_to(self, peer: Peer) -> None:
        self._limits = msgspec.structs.replace(self._limits, ahead=1 << 60)
        super().send_to(peer)


class WithoutG5(Engine):
    """
    Any reply says where to go on, and nobody waits for it.
    """

    def __init__(self, environment: Environment) -> None:
        rooms = Rooms(following=_FollowingWithoutG5, replication=_ReplicationWithoutG5)
        super().__init__(environment, rooms)


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
            self._unsynced.drop_adopted()
            whole = self._unsynced.anew
            if whole:
                self._unsynced = UnsyncedChanges()
                records = self._state.to_records()
        if not whole:
            super().sync()
            return
        file = self._files.create(NAME)
        self._files.sync_names()
        file.write(encode_header(self.incarnation))
        for number, record in enumerate(records, 1):
            file.write(encode_frame(self.incarnation, number, [record]))
        file.sync()
        self._writer._use(file, len(records))


class _ApplyingWithoutG7(Applying):
    def apply_committed(self) -> bool:
        raft, log = self._raft, self._raft.log
        for index in range(raft.applied_index + 1, raft.commit_index + 1):
            command = log[index - log[0][1]][0]
            try:
                if command[:1] == b"\0":
                    self._results.command_applied(self._machine.apply(command[1:]))
                raft.mark_applied(index)
            except CannotApply:
                raft.mark_applied(index)
        return False


class WithoutG7(Engine):
    """
    A variant that applies an unreadable entry again and again, or skips it.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, Rooms(applying=_ApplyingWithoutG7))


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
    ) -> AdmissionCheck:
        acquaintances = PeerAdmission(known, storage, format)

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
