"""
The leadership transfer (Raft dissertation, 3.10): the leader asks a member that has the whole
log to take over.
"""

from __future__ import annotations

from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.messages import HandOver, TimeoutNow


class LeadershipTransfer:
    """
    A leadership transfer in progress, until a member is asked to take over or the transfer
    times out.
    """

    def __init__(self, raft: RaftAdapter, environment: Environment) -> None:
        self._raft = raft
        self._timing = environment.timing
        self._pending: tuple[str | None, float] | None = None

    def hand_over(self, target: str | None) -> None:
        """
        Begin a leadership transfer, as the leader, or ask the leader for one. The transfer may
        fail.

        @param target: the member to transfer to, as soon as it has the whole log; L{None}: any
            member.
        """
        raft = self._raft
        leader = raft.leader
        if raft.role == LEADER:
            self._pending = target, raft.now() + self._timing.election[1]
            self.proceed()
        elif leader is not None:
            raft.send(leader, HandOver(target))

    def proceed(self) -> None:
        """
        Ask a connected member with the whole log to take over, if a transfer is in progress.
        """
        if self._pending is None:
            return
        raft = self._raft
        target, until = self._pending
        able = [
            peer
            for peer in raft.sorted_others
            if peer in raft.connected
            and target in {None, peer.id}
            and raft.match_index[peer] == raft.last_index
        ]
        if able:
            raft.send(able[0], TimeoutNow(raft.term))
        if able or until < raft.now():
            self._pending = None

    def forget(self) -> None:
        """
        Cancel the transfer: it was requested of an earlier leadership.
        """
        self._pending = None
