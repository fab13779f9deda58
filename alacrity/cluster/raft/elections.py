"""
Who leads: votes, before them pre-votes, and the handing over from one leader to the next.

How an election is won is PySyncObj's. What stands here is when one may begin, which
votes count, and what is left behind with a term or a role.
"""

from __future__ import annotations

from typing import Any

from alacrity.cluster.raft.environment import Environment, Peer
from alacrity.cluster.raft.messages import HandOver, PreVote, PreVoteReply, ResponseVote, TimeoutNow
from alacrity.cluster.raft.raft import FOLLOWER, LEADER, Raft


class Elections(Raft):
    """
    A node's part in elections.
    """

    def __init__(self, around: Environment) -> None:
        self._votes: set[Peer] = set()
        self._canvass: set[Peer] = set()
        self._canvass_term = 0
        self._standing = False
        self._wanted: tuple[str | None, float] | None = None
        super().__init__(around)

    # Pre-votes

    def _maybe_canvass(self) -> None:
        """
        Before it stands for election, a node asks whether it would be elected.

        An election raises the term, and with it deposes the leader. A node that hears
        nobody, or was removed, would do so again and again.
        """
        if self._standing or (self._SyncObj__transferInProgress and self.is_member):
            return
        if self._SyncObj__raftElectionDeadline >= self._now():
            return
        self._postpone()
        # Whoever led is silent. Nothing more is sent there, until it is heard again.
        self._SyncObj__raftLeader = None
        if not self.is_member:
            return
        self._canvass = set()
        self._canvass_term = self.term + 1
        log = self._SyncObj__raftLog
        question = PreVote(self._canvass_term, log[-1][1], log[-1][2])
        for peer in self._others():
            self._send(peer, question)
        self._maybe_stand()

    def _maybe_stand(self) -> None:
        if len(self._canvass) + 1 > (len(self._SyncObj__otherNodes) + 1) / 2:
            self._canvass = set()
            self._canvass_term = 0
            self._standing = True
            self._SyncObj__raftElectionDeadline = float("-inf")

    @property
    def _votes_count(self) -> bool:
        """
        Whether this node may vote: not while it waits to be taken in. It counts nowhere
        yet, unless somebody who is behind takes it for its former self, whose files are
        gone, and with them whom that one has voted for.
        """
        return self.configuration != ()

    def _on_pre_vote(self, peer: Peer, message: PreVote) -> None:
        log = self._SyncObj__raftLog
        followed = self.role == LEADER or (
            self.leader is not None
            and self.leader in self._SyncObj__connectedNodes
            and self._heard + self._timing.election[0] > self._now()
        )
        granted = (
            self._votes_count
            and message.term > self.term
            and not followed
            and (message.last_log_term, message.last_log_index) >= (log[-1][2], log[-1][1])
        )
        self._send(peer, PreVoteReply(message.term, self.term, granted))

    def _on_pre_vote_reply(self, peer: Peer, message: PreVoteReply) -> None:
        if message.current > self.term:
            self._see_term(message.current)
        elif (
            message.granted
            and message.term == self._canvass_term == self.term + 1
            and self.role != LEADER
            and peer in self._SyncObj__otherNodes
        ):
            self._canvass.add(peer)
            self._maybe_stand()

    # Votes

    def _on_request_vote(self, peer: Peer, message: dict[str, Any]) -> None:
        if not self._votes_count:
            return
        led = self.role == LEADER
        super()._SyncObj__onMessageReceived(peer, message)
        if led and self.role != LEADER:
            self._stepped_down()

    def _on_response_vote(self, peer: Peer, vote: ResponseVote, message: dict[str, Any]) -> None:
        # Each member's vote counts once, and nobody else's.
        if vote.term == self.term and peer in self._SyncObj__otherNodes - self._votes:
            self._votes.add(peer)
            super()._SyncObj__onMessageReceived(peer, message)

    # Terms and roles

    def _postpone(self) -> None:
        self._standing = False
        # What was answered before a leader was heard, or in an earlier round, says nothing of
        # now: those who answered may be no members any more.
        self._canvass = set()
        self._canvass_term = 0
        self._SyncObj__raftElectionDeadline = self._now() + self._SyncObj__generateRaftTimeout()

    def _see_term(self, term: int) -> None:
        """
        Follow into a later term, whose leader is not known.
        """
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None
        self._stepped_down()

    def _stepped_down(self) -> None:
        # PySyncObj leaves the deadline where it was before this node led: it would
        # stand again at once, against who has just been elected.
        self._postpone()

    def _SyncObj__setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        if term != self.term:
            self._votes = set()
            self._canvass = set()
            self._canvass_term = 0
        super()._SyncObj__setCurrentTerm(term, votedForNodeId)

    def _SyncObj__generateRaftTimeout(self) -> float:
        low, high = self._timing.election
        return low + (high - low) * self._rng.random()

    def _SyncObj__onBecomeLeader(self) -> None:
        self._wanted = None
        super()._SyncObj__onBecomeLeader()

    # Handing over

    def hand_over(self, target: str | None) -> None:
        """
        Have the leader hand over to a member, or to whom it likes, as soon as that one
        has the whole log. It may not succeed.
        """
        leader = self.leader
        if self.role == LEADER:
            self._wanted = target, self._now() + self._timing.election[1]
            self._maybe_hand_over()
        elif leader is not None:
            self._send(leader, HandOver(target))

    def _maybe_hand_over(self) -> None:
        if self._wanted is None:
            return
        target, until = self._wanted
        connected = self._SyncObj__connectedNodes
        able = [
            peer
            for peer in self._others()
            if peer in connected
            and target in {None, peer.id}
            and self._SyncObj__raftMatchIndex[peer] == self.last_index
        ]
        if able:
            self._send(able[0], TimeoutNow(self.term))
        if able or until < self._now():
            self._wanted = None
