"""
The transfer of leadership (Raft dissertation, 3.10): a leader has a member with the whole
log take its place.
"""

from __future__ import annotations

from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.messages import HandOver, TimeoutNow


class LeadershipTransfer:
    """
    A leader's wish to hand over, until it has or its time is over.
    """

    def __init__(self, raft: RaftAdapter, environment: Environment) -> None:
        self._raft = raft
        self._timing = environment.timing
        self._wanted: tuple[str | None, float] | None = None

    def hand_over(self, target: str | None) -> None:
        """
        Have the leader hand over to a member, or to whom it likes, as soon as that one
        has the whole log. It may not succeed.
        """
        raft = self._raft
        leader = raft.leader
        if raft.role == LEADER:
            self._wanted = target, raft.now() + self._timing.election[1]
            self.proceed()
        elif leader is not None:
            raft.send(leader, HandOver(target))

    def proceed(self) -> None:
        """
        Ask a member to lead that has the whole log, if a transfer is wanted.
        """
        if self._wanted is None:
            return
        raft = self._raft
        target, until = self._wanted
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
            self._wanted = None

    def forget(self) -> None:
        """
        Hand over no more: what was wanted, was wanted of an earlier leader.
        """
        self._wanted = None
