"""
A leader's replies and sendings.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.log.entries import NO_OP, REGULAR
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.raft.adapter import FOLLOWER, LEADER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import RaftLimits
from alacrity.cluster.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    PreVoteReply,
    Reply,
    ResponseVote,
    SnapshotReply,
    plain,
)
from alacrity.cluster.raft.peer import Peer
from tests.cluster.raft.engines import PEERS, A, B, C, D, EngineCase
from tests.simulation.variants import (
    WithoutG4,
)


class G4Tests(EngineCase):
    """Replies carry the term."""

    def late(self, engine: type[Engine]) -> Engine:
        made = self.lead(A, B, C, engine=engine)
        self.assertEqual(made.term, 1)
        # Deposed, and elected again: its log has another entry in that place now.
        self.append("b", 2, self.entries(2))
        self.elect(made)
        self.assertEqual(made.term, 3)
        self.give("c", Reply(1, made.last_index + 1, True, 1 << 30))
        made.tick()
        return made

    def test_a_late_reply_does_not_count(self) -> None:
        self.assertEqual(self.late(Engine).commit_index, 2)

    def test_without_the_guard_it_commits(self) -> None:
        engine = self.late(WithoutG4)
        self.assertEqual(engine.commit_index, engine.last_index)

    def test_a_reply_of_nobody_does_not_count(self) -> None:
        engine = self.lead(A, B, C)
        self.give("d", Reply(1, engine.last_index + 1, True, 1 << 30))
        engine.tick()
        self.assertEqual(engine.commit_index, 2)

    def test_a_later_term_deposes(self) -> None:
        engine = self.lead(A, B, C)
        self.give("b", Reply(9, 0, False, 0))
        self.assertEqual((engine.role, engine.term), (FOLLOWER, 9))

    def test_a_former_leader_is_told(self) -> None:
        self.make(A, B, C)
        self.append("b", 5, [])
        self.assertEqual(self.append("c", 4, []), [Reply(5, 0, False, 7)])

    def test_each_vote_counts_once_and_only_a_member_s(self) -> None:
        engine = self.make(A, B, C, D)
        self.world.now += 1.0
        engine.tick()
        for name in "bc":
            self.give(name, PreVoteReply(1, 0, granted=True))
        engine.tick()
        self.assertEqual(engine.term, 1)
        for _ in range(3):
            self.give("b", ResponseVote(1))
        self.sent._onMessageReceived(Peer(Member("z", "z:1")), plain(ResponseVote(1)))
        self.assertNotEqual(engine.role, LEADER)
        self.give("c", ResponseVote(1))
        self.assertEqual(engine.role, LEADER)


class G8Tests(EngineCase):
    """Nothing is sent without end."""

    def test_a_snapshot_goes_in_slices_each_when_the_one_before_has_arrived(self) -> None:
        engine = self.lead(A, B, C, limits=RaftLimits(slice=3))
        state = msgspec.msgpack.encode([b"0123456789"])
        self.storage.replace(Snapshot(state, 3, 1, (A, B, C)), [(NO_OP, 3, 1)])
        sent = self.give("b", Reply(1, 3, False, engine.replication.probes[PEERS["b"]]))
        got = b""
        while sent:
            (piece,) = sent
            assert isinstance(piece, InstallSnapshot)
            self.assertEqual(piece.offset, len(got))
            got += piece.data
            sent = self.give("b", SnapshotReply(1, 3, len(got))) if got != state else []
        self.assertEqual(got, state)
        # Not confirmed: heartbeats without data, until it is time to send it again.
        self.world.now += 0.2
        self.sent.messages.clear()
        engine.tick()
        pieces = [each for to, each in self.sent.messages if to == "b"]
        self.assertEqual([each.data for each in pieces if isinstance(each, InstallSnapshot)], [b""])

    def test_a_follower_is_sent_so_much_ahead(self) -> None:
        engine = self.lead(A, B, C, limits=RaftLimits(ahead=4, batch=1))
        self.confirm(engine, "b", "c")
        probe = engine.replication.probes[PEERS["b"]]
        self.give("b", Reply(1, engine.last_index + 1, True, probe))
        self.sent.messages.clear()
        for number in range(20):
            engine.submit("x", REGULAR + b"%d" % number)
        engine.tick()
        ahead = [each for to, each in self.sent.messages if to == "b"]
        entries = [
            entry for each in ahead if isinstance(each, AppendEntries) for entry in each.entries
        ]
        self.assertLessEqual(len(entries), 5)

    def test_too_many_commands_are_denied(self) -> None:
        engine = self.lead(A, B, C, limits=RaftLimits(backlog=3))
        for number in range(9):
            engine.submit("x", REGULAR + b"%d" % number)
        engine.tick()
        self.assertEqual(self.notes.denials, [("too many commands wait", False)] * 6)
