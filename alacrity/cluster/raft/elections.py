"""
Elections: votes, and before them pre-votes; terms and roles; silence and quorum.

How an election is won is PySyncObj's. What stands here is when one may begin, which
votes count, and what is left behind with a term or a role.
"""

from __future__ import annotations

from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.messages import PreVote, PreVoteReply, RequestVote, ResponseVote
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.reconfiguration import Reconfiguration


class Elections:
    """
    A node's part in elections.
    """

    def __init__(
        self, raft: RaftAdapter, environment: Environment, reconfiguration: Reconfiguration
    ) -> None:
        self._raft = raft
        self._timing = environment.timing
        self._reconfiguration = reconfiguration
        # The peers that have voted for this node in this term.
        self._voters: set[Peer] = set()
        # The peers that would vote for it, and in which term; 0: it does not ask.
        self._pre_voters: set[Peer] = set()
        self._pre_vote_term = 0
        # Whether a majority would, and it stands in this tick.
        self._standing = False
        self._leader_heard_at = float("-inf")

    # Pre-votes

    def maybe_ask_for_pre_votes(self) -> None:
        """
        Ask for pre-votes, if no leader was heard for long: a node that would be elected stands
        for election then.

        An election raises the term, and with it deposes the leader. A node that hears
        nobody, or was removed, would do so again and again.
        """
        raft = self._raft
        if self._standing or (raft.is_asked_to_lead and self._reconfiguration.is_member):
            return
        if raft.election_deadline >= raft.now():
            return
        self.postpone()
        # Whoever led is silent. Nothing more is sent there, until it is heard again.
        raft.set_leader(None)
        if not self._reconfiguration.is_member:
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
        If this node has stood in this tick, let time pass until it asks again.
        """
        if self._standing:
            self.postpone()

    @property
    def may_vote(self) -> bool:
        """
        Whether this node may vote: not while it waits to be taken in. It counts nowhere
        yet, unless somebody who is behind takes it for its former self, whose files are
        gone, and with them whom that one has voted for.
        """
        return self._reconfiguration.configuration != ()

    def on_pre_vote(self, peer: Peer, message: PreVote) -> None:
        """
        Answer whether a node would be elected, as far as this one has a say.
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
        Count an answer; stand for election when a majority has said yes.
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
        Vote for a node, if this one may, and has not voted in that term for another.
        """
        if not self.may_vote:
            return
        was_leader = self._raft.role == LEADER
        self._raft.handle(peer, message)
        if was_leader and self._raft.role != LEADER:
            self.step_down()

    def on_response_vote(self, peer: Peer, vote: ResponseVote) -> None:
        """
        Count a vote: each member's once, and nobody else's.
        """
        raft = self._raft
        if vote.term == raft.term and peer in raft.others - self._voters:
            self._voters.add(peer)
            raft.handle(peer, vote)

    # Terms and roles

    def postpone(self) -> None:
        """
        Let a new time pass until this node asks for pre-votes.
        """
        self._standing = False
        # What was answered before a leader was heard, or in an earlier round, says nothing of
        # now: those who answered may be no members any more.
        self._pre_voters = set()
        self._pre_vote_term = 0
        self._raft.postpone_election()

    def enter_later_term(self, term: int) -> None:
        """
        Follow into a later term, whose leader is not known.
        """
        self._raft.set_term(term)
        self._raft.become_follower()
        self._raft.set_leader(None)
        self.step_down()

    def step_down(self) -> None:
        """
        Leave behind what a leader had: this node leads no more.

        PySyncObj leaves the deadline where it was before this node led: it would
        stand again at once, against who has just been elected.
        """
        self.postpone()
        self._reconfiguration.forget_learners()

    def forget_votes(self) -> None:
        """
        Count anew: another term begins.
        """
        self._voters = set()
        self._pre_voters = set()
        self._pre_vote_term = 0

    def hear_leader(self, leader: Peer) -> None:
        """
        Take a message as a sign of a leader's life, and follow it.
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
        Whether a leader with a majority was heard of lately.
        """
        raft = self._raft
        since = raft.now() - self._timing.fallback
        if raft.role == LEADER:
            count = 1 + sum(1 for peer in raft.others if raft.last_response[peer] > since)
            return count > (len(raft.others) + 1) / 2
        return raft.leader is not None and self._leader_heard_at > since

    def discount_stall(self, stalled: float) -> None:
        """
        Count the time for which this process did not run as nobody's silence: no follower is
        taken for lost for it, and no election is begun. If it was long, others may have elected
        a leader meanwhile.

        @param stalled: the seconds for which it did not run.
        """
        raft = self._raft
        now = raft.now()
        stalled = min(stalled, self._timing.fallback)
        latest = max(raft.election_deadline, now + self._timing.election[1])
        raft.set_election_deadline(min(latest, raft.election_deadline + stalled))
        for peer, heard in raft.last_response.items():
            raft.last_response[peer] = max(heard, min(now, heard + stalled))
