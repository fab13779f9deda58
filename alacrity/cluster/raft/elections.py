"""
Elections: pre-votes and votes, terms and roles, silent leaders and quorum.

PySyncObj decides when an election is won. This module decides when one may begin and which
votes count, and cleans up when the term or the role changes.
"""

from __future__ import annotations

from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.beginning import Beginning
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.messages import PreVote, PreVoteReply, RequestVote, ResponseVote
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.reconfiguration import Reconfiguration


class Elections:
    """
    A node's part in elections.

    @ivar beginning: keeps this node from elections as long as it may have lost its files.
    """

    def __init__(
        self, raft: RaftAdapter, environment: Environment, reconfiguration: Reconfiguration
    ) -> None:
        self._raft = raft
        self._timing = environment.timing
        self._reconfiguration = reconfiguration
        self.beginning = Beginning(raft, reconfiguration)
        # The peers that have voted for this node in this term.
        self._voters: set[Peer] = set()
        # The peers that have granted a pre-vote, and the term that they were asked for; 0: no
        # round of pre-votes is in progress.
        self._pre_voters: set[Peer] = set()
        self._pre_vote_term = 0
        # Whether a majority has granted its pre-votes: the election begins in this tick.
        self._standing = False
        self._leader_heard_at = float("-inf")

    # Pre-votes

    def maybe_ask_for_pre_votes(self) -> None:
        """
        Ask for pre-votes, if the election timeout has passed. The node starts an election only
        if a majority would vote for it.

        An election raises the term, and so deposes the leader. Without pre-votes, a node that
        hears nobody, or was removed, would do this again and again.
        """
        raft = self._raft
        if self._standing or (raft.is_asked_to_lead and self._reconfiguration.is_member):
            return
        if raft.election_deadline >= raft.now():
            return
        self.postpone()
        # The leader is silent. No proposals are sent to it until it is heard again.
        raft.set_leader(None)
        if not (self._reconfiguration.is_member and self.beginning.is_over):
            return
        self._pre_voters = set()
        self._pre_vote_term = raft.term + 1
        log = raft.log
        question = PreVote(self._pre_vote_term, log[-1][1], log[-1][2])
        for peer in raft.sorted_others:
            raft.send(peer, question)
        self._maybe_stand()

    def _maybe_stand(self) -> None:
        if len(self._pre_voters) + 1 > (len(self._raft.others) + 1) / 2:
            self._pre_voters = set()
            self._pre_vote_term = 0
            self._standing = True
            self._raft.set_election_deadline(float("-inf"))

    def end_tick(self) -> None:
        """
        Start a new election timeout, if this node has started an election in this tick.
        """
        if self._standing:
            self.postpone()

    @property
    def may_vote(self) -> bool:
        """
        Whether this node may vote. A node that waits to be added must not: its vote counts
        nowhere, except at a member that is behind and takes this node for a former member
        of the same name. That member's files are lost, with the votes that it gave. Neither may
        a node that may have lost its own files, see L{Beginning}.
        """
        return self._reconfiguration.configuration != () and self.beginning.is_over

    def on_pre_vote(self, peer: Peer, message: PreVote) -> None:
        """
        Answer whether this node would vote for a peer.
        """
        raft, log = self._raft, self._raft.log
        followed = raft.role == LEADER or (
            raft.leader is not None
            and raft.leader in raft.connected
            and self._leader_heard_at + self._timing.election[0] > raft.now()
        )
        granted = (
            self.may_vote
            and message.term > raft.term
            and not followed
            and (message.last_log_term, message.last_log_index) >= (log[-1][2], log[-1][1])
        )
        raft.send(peer, PreVoteReply(message.term, raft.term, granted))

    def on_pre_vote_reply(self, peer: Peer, message: PreVoteReply) -> None:
        """
        Count a pre-vote. With a majority of them, start an election.
        """
        raft = self._raft
        if message.current > raft.term:
            self.enter_later_term(message.current)
        elif (
            message.granted
            and message.term == self._pre_vote_term == raft.term + 1
            and raft.role != LEADER
            and peer in raft.others
        ):
            self._pre_voters.add(peer)
            self._maybe_stand()

    # Votes

    def on_request_vote(self, peer: Peer, message: RequestVote) -> None:
        """
        Vote for a peer, if this node may vote and has not voted for another one in that term.
        """
        if not self.may_vote:
            return
        was_leader = self._raft.role == LEADER
        self._raft.handle(peer, message)
        if was_leader and self._raft.role != LEADER:
            self.step_down()

    def on_response_vote(self, peer: Peer, vote: ResponseVote) -> None:
        """
        Count a vote: one from each member, and none from others.
        """
        raft = self._raft
        if vote.term == raft.term and peer in raft.others - self._voters:
            self._voters.add(peer)
            raft.handle(peer, vote)

    # Terms and roles

    def postpone(self) -> None:
        """
        Start a new election timeout, after which this node asks for pre-votes.
        """
        self._standing = False
        # Pre-votes from an earlier round, or from before a leader was heard, do not count any
        # more: their senders may have been removed meanwhile.
        self._pre_voters = set()
        self._pre_vote_term = 0
        self._raft.postpone_election()

    def enter_later_term(self, term: int) -> None:
        """
        Enter a later term as a follower; its leader is not known yet.
        """
        self._raft.set_term(term)
        self._raft.become_follower()
        self._raft.set_leader(None)
        self.step_down()

    def step_down(self) -> None:
        """
        Clean up after this node has stopped being the leader.

        PySyncObj leaves the election deadline where it was before this node led. With that
        deadline, this node would start an election at once, against the new leader.
        """
        self.postpone()
        self._reconfiguration.forget_learners()

    def forget_votes(self) -> None:
        """
        Forget all votes, because a new term begins.
        """
        self._voters = set()
        self._pre_voters = set()
        self._pre_vote_term = 0

    def hear_leader(self, leader: Peer) -> None:
        """
        Note that a leader was heard, and follow it.
        """
        if not self._raft.is_asked_to_lead:
            self.postpone()
        self._raft.become_follower()
        self._raft.set_leader(leader)
        self._leader_heard_at = self._raft.now()

    # Silence

    @property
    def has_quorum(self) -> bool:
        """
        Whether this node has lately heard a leader, or as the leader, a majority.
        """
        raft = self._raft
        since = raft.now() - self._timing.fallback
        if raft.role == LEADER:
            count = 1 + sum(1 for peer in raft.others if raft.last_response[peer] > since)
            return count > (len(raft.others) + 1) / 2
        return raft.leader is not None and self._leader_heard_at > since

    def discount_stall(self, stalled: float) -> None:
        """
        Discount a stall of this process: the time of the stall does not count as silence of
        the peers, so no follower counts as lost because of it, and no election begins. At most
        L{RaftTiming.fallback} is discounted, since after a long stall the others may have
        elected a leader.

        @param stalled: the duration of the stall, in seconds.
        """
        raft = self._raft
        now = raft.now()
        stalled = min(stalled, self._timing.fallback)
        latest = max(raft.election_deadline, now + self._timing.election[1])
        raft.set_election_deadline(min(latest, raft.election_deadline + stalled))
        for peer, heard in raft.last_response.items():
            raft.last_response[peer] = max(heard, min(now, heard + stalled))
