"""
Elections: pre-votes, votes, and a process that did not run for a while.
"""

from __future__ import annotations

from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.log.members import Member
from alacrity.cluster.raft.adapter import FOLLOWER, LEADER
from alacrity.cluster.raft.membership import (
    make_alone,
    members_of,
)
from alacrity.cluster.raft.messages import (
    AppendEntries,
    Denial,
    PreVote,
    PreVoteReply,
    Propose,
    Reply,
    RequestVote,
    ResponseVote,
    plain,
)
from alacrity.cluster.raft.peer import Peer
from tests.cluster.raft.engines import PEERS, A, B, C, D, EngineCase


class ElectionTests(EngineCase):
    def test_a_node_asks_before_it_stands(self) -> None:
        engine = self.make(A, B, C)
        self.world.now += 1.0
        engine.tick()
        self.assertEqual(self.sent.messages, [("b", PreVote(1, 2, 0)), ("c", PreVote(1, 2, 0))])
        self.assertEqual((engine.term, self.storage.getCurrentTerm()), (0, 0))

    def test_who_follows_a_leader_grants_nothing(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, [])
        self.assertEqual(self.give("c", PreVote(2, 9, 9)), [PreVoteReply(2, 1, granted=False)])
        # It has lost its leader's connection: that one may be dead.
        self.sent._onNodeDisconnected(PEERS["b"])
        self.assertEqual(self.give("c", PreVote(2, 9, 9)), [PreVoteReply(2, 1, granted=True)])
        self.assertEqual(self.give("c", PreVote(2, 1, 0)), [PreVoteReply(2, 1, granted=False)])
        self.assertEqual(engine.term, 1)

    def test_who_asks_for_an_old_term_learns_the_new_one(self) -> None:
        engine = self.make(A, B, C)
        self.world.now += 1.0
        engine.tick()
        self.give("b", PreVoteReply(1, 7, granted=False))
        self.assertEqual((engine.term, self.storage.getCurrentTerm()), (7, 7))

    def test_one_vote_a_term_and_it_is_kept(self) -> None:
        engine = self.make(A, B, C)
        self.assertEqual(self.give("b", RequestVote(4, 2, 0)), [ResponseVote(4)])
        self.assertEqual(self.give("c", RequestVote(4, 9, 3)), [])
        self.assertEqual(self.storage.getVotedForNodeId(), "b")
        self.assertTrue(self.storage.dirty)
        self.assertEqual(engine.term, 4)

    def test_a_vote_is_kept_across_a_restart(self) -> None:
        self.make(A, B, C)
        self.assertEqual(self.give("b", RequestVote(4, 2, 0)), [ResponseVote(4)])
        engine = self.run_on(self.storage, A)
        self.assertEqual(engine.term, 4)
        self.assertEqual(self.give("c", RequestVote(4, 9, 3)), [])

    def test_a_vote_goes_to_no_shorter_log(self) -> None:
        self.make(A, B, C)
        self.append("b", 2, self.entries(1, 2))
        for last in ((3, 2), (9, 1)):
            self.assertEqual(self.give("c", RequestVote(4, *last)), [])
        self.assertEqual(self.give("c", RequestVote(4, 4, 2)), [ResponseVote(4)])

    def test_votes_of_an_earlier_term_do_not_count(self) -> None:
        engine = self.make(A, B, C)
        for _ in range(2):
            self.world.now += 1.0
            engine.tick()
            self.give("b", PreVoteReply(engine.term + 1, engine.term, granted=True))
            engine.tick()
        self.assertEqual(engine.term, 2)
        self.give("b", ResponseVote(1))
        self.assertNotEqual(engine.role, LEADER)
        self.give("b", ResponseVote(2))
        self.assertEqual(engine.role, LEADER)

    def test_pre_votes_count_of_members_for_the_next_term_and_by_majority(self) -> None:
        engine = self.make(A, B, C, D)
        self.world.now += 1.0
        engine.tick()
        self.give("b", PreVoteReply(1, 0, granted=True))
        self.give("b", PreVoteReply(1, 0, granted=True))
        self.give("c", PreVoteReply(0, 0, granted=True))
        self.give("c", PreVoteReply(1, 0, granted=False))
        self.sent._onMessageReceived(
            Peer(Member("z", "z:1")), plain(PreVoteReply(1, 0, granted=True))
        )
        engine.tick()
        self.assertEqual(engine.term, 0)
        self.give("c", PreVoteReply(1, 0, granted=True))
        engine.tick()
        self.assertEqual(engine.term, 1)

    def test_a_leader_that_is_heard_again_ends_the_canvass(self) -> None:
        engine = self.make(A, B, C, D)
        self.append("b", 1, [])
        self.world.now += 1.0
        engine.tick()
        self.give("c", PreVoteReply(2, 1, granted=True))
        self.append("b", 1, [])
        # This one was sent before, too.
        self.give("d", PreVoteReply(2, 1, granted=True))
        engine.tick()
        self.assertEqual((engine.role, engine.term), (FOLLOWER, 1))

    def test_an_entry_of_an_earlier_term_is_not_committed_by_counting(self) -> None:
        """
        Figure 8 of the paper on Raft.
        """
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1))
        self.elect(engine)
        self.assertEqual((engine.term, engine.last_index), (2, 4))
        self.give("b", Reply(2, 4, success=True, probe=1 << 30))
        engine.tick()
        self.assertEqual(engine.commit_index, 2)
        self.give("b", Reply(2, 5, success=True, probe=1 << 30))
        engine.tick()
        self.assertEqual(engine.commit_index, 4)

    def test_half_of_the_members_commit_nothing(self) -> None:
        engine = self.lead(A, B, C, D)
        self.confirm(engine, "b")
        self.assertEqual(engine.commit_index, 2)
        self.confirm(engine, "c")
        self.assertEqual(engine.commit_index, 3)

    def test_a_new_leadership_knows_of_no_match(self) -> None:
        engine = self.lead(A, B, C)
        self.confirm(engine, "b")
        self.assertEqual(engine.matches, {"b": 3, "c": 0})
        self.append("c", 2, [], prev=(3, 1), commit=3)
        self.elect(engine)
        self.assertEqual(engine.matches, {"b": 0, "c": 0})

    def test_a_leader_without_a_majority_steps_down_and_waits(self) -> None:
        engine = self.lead(A, B, C)
        self.world.now += 2.0
        engine.tick()
        self.assertEqual((engine.role, engine.leader, engine.term), (FOLLOWER, None, 1))

    def test_a_node_that_is_alone_leads_at_once(self) -> None:
        engine = self.make(A)
        engine.tick()
        engine.tick()
        self.assertTrue(engine.is_leader)

    def test_a_node_that_waits_to_be_taken_in_does_not_stand(self) -> None:
        engine = self.make()
        self.world.now += 9.0
        engine.tick()
        self.assertEqual((engine.role, engine.term), (FOLLOWER, 0))

    def test_nor_does_it_vote(self) -> None:
        """
        It may have been a member that has lost its files, and have voted already.
        """
        engine = self.make()
        self.assertEqual(self.give("b", PreVote(5, 9, 4)), [PreVoteReply(5, 0, granted=False)])
        self.assertEqual(self.give("b", RequestVote(5, 9, 4)), [])
        self.assertEqual((engine.term, self.storage.getVotedForNodeId()), (0, None))

    def test_a_proposal_comes_no_further_than_to_who_was_taken_for_the_leader(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, [])
        self.sent.messages.clear()
        self.sent._onMessageReceived(PEERS["c"], plain(Propose("x", REGULAR + b"1")))
        engine.tick()
        self.assertEqual(
            self.sent.messages, [("c", Denial("x", "this node is not the leader", final=False))]
        )

    def test_a_node_can_be_made_alone(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 3, self.entries(3))
        make_alone(self.storage, Member("new", "new:1"))
        self.assertEqual(members_of(self.storage), (self.own(Member("new", "new:1")),))
        engine = self.run_on(self.storage, Member("new", "new:1"))
        for _ in range(3):
            engine.tick()
        self.assertTrue(engine.is_leader)
        self.assertEqual(self.notes.applied, [b"3@3"])


class StallTests(EngineCase):
    """
    A process that did not run for a while.
    """

    def test_a_leader_hears_what_was_said_meanwhile(self) -> None:
        for stalled, leads in ((1.0, True), (2.0, True), (2.9, True), (5.0, False)):
            with self.subTest(stalled):
                engine = self.lead(A, B, C)
                self.world.now += stalled
                engine.discount_stall(stalled)
                engine.tick()
                self.assertEqual(engine.role == LEADER, leads)
                if leads:
                    # If nobody speaks, that is silence.
                    self.world.now += 1.6
                    engine.tick()
                    self.assertNotEqual(engine.role, LEADER)

    def test_a_follower_hears_its_leader_first(self) -> None:
        for stalled in (0.5, 0.9, 1.4):
            with self.subTest(stalled):
                engine = self.make(A, B, C)
                self.give("b", AppendEntries(1, 2, 2, 0, [], 1))
                self.world.now += stalled
                self.sent.messages.clear()
                engine.discount_stall(stalled)
                engine.tick()
                self.assertEqual(self.sent.messages, [])
                self.assertIsNotNone(engine.leader)
                # No longer than after a heartbeat.
                self.world.now += 0.85
                engine.tick()
                self.assertEqual({type(each) for _, each in self.sent.messages}, {PreVote})

    def test_what_was_heard_since_counts_as_it_is(self) -> None:
        engine = self.lead(A, B, C)
        self.world.now += 1.0
        for name in "bc":
            self.give(name, Reply(engine.term, 3, True, 1))
        engine.discount_stall(1.0)
        self.world.now += 1.4
        engine.tick()
        self.assertEqual(engine.role, LEADER)
        self.world.now += 0.2
        engine.tick()
        self.assertNotEqual(engine.role, LEADER)
