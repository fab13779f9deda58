"""
The replica: proposals and their outcomes, what leaves the node when, faults of the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EIO
from random import Random
from typing import Any
from unittest import mock

import msgspec
import pysyncobj.pickle
from pysyncobj.node import Node as PlainNode
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, eventAsText, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import NAME, Storage
from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused, Proposals
from alacrity.cluster.raft.environment import RaftLimits
from alacrity.cluster.raft.membership import Members, bootstrap, encode_members
from alacrity.cluster.raft.messages import (
    AppendEntries,
    Denial,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    Propose,
    Reply,
    RequestVote,
    ResponseVote,
    plain,
)
from alacrity.cluster.replica import Replica
from alacrity.cluster.replica_settings import ReplicaSettings
from alacrity.cluster.state import (
    Envelope,
    RaiseFormat,
    Replicated,
    apply,
    decode_state,
    encode_envelope,
    encode_state,
    envelope_version,
)
from alacrity.cluster.wire.handshake import Identity
from alacrity.cluster.wire.openings import VERSIONS, versions_at
from alacrity.pool import (
    Change,
    Judged,
    Pool,
    PoolView,
    Register,
    Registered,
    Report,
    State,
    TcpCheck,
    Verdicts,
)
from tests.cluster.raft.engines import Sent
from tests.simulation.clock import patched, use
from tests.simulation.world import World
from tests.support.fake_files import FakeFiles

A, B, C, D = (Member(name, f"{name}:1") for name in "abcd")
REGISTER = Register("10.0.0.7", 8080, TcpCheck(), 1, 1.0)


class _Transport(Sent):
    running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def last_contact(self, name: str) -> float | None:
        return 0.5


class ReplicaTests(SynchronousTestCase):
    """
    With a disk whose writes end when the test says so.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        self.clock = Clock()
        self.held: list[tuple[Callable[[], object], Deferred[Any]]] | None = None

    def _run_in_thread(self, what: Callable[[], object]) -> Deferred[Any]:
        if self.held is None:
            result: Deferred[Any] = succeed(None)
            return result.addCallback(lambda _: what())
        waiting: Deferred[Any] = Deferred()
        self.held.append((what, waiting))
        return waiting

    def let_go(self) -> None:
        """
        Let the writes under way end.
        """
        held, self.held = self.held or [], []
        for what, waiting in held:
            waiting.callback(what())

    def make(self, *members: Member, settings: ReplicaSettings | None = None) -> Replica:
        self.files = FakeFiles()
        self.storage = Storage.open(self.files)
        if members:
            bootstrap(self.storage, members, encode_state(Replicated()))
            self.storage.sync()
        self.transport = _Transport()
        self.view = PoolView()
        replica = Replica(
            A,
            self.storage,
            self.transport,
            self.view,
            self.clock,
            self._run_in_thread,
            Random(1),
            settings,
        )
        self.successResultOf(Deferred.fromCoroutine(replica.start()))
        for name in self.transport.nodes:
            self.transport._onNodeConnected(PlainNode(name))
        self.clock.advance(0)
        return replica

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.world.now += 0.05
            self.clock.advance(0.05)

    def give(self, name: str, message: Message) -> None:
        self.transport._onMessageReceived(PlainNode(name), plain(message))
        self.clock.advance(0)

    def sent(self, kind: type[Any]) -> list[Any]:
        return [each for _, each in self.transport.messages if isinstance(each, kind)]

    def follow(self, *entries: tuple[bytes, int, int], commit: int, term: int = 1) -> None:
        self.give("b", AppendEntries(term, commit, 2, 0, list(entries), 1))

    def lead(self, replica: Replica) -> int:
        """
        Have it elected; its term.
        """
        self.pass_time(1.0)
        ask = self.sent(PreVote)[-1]
        self.give("b", PreVoteReply(ask.term, ask.term - 1, granted=True))
        self.give("b", ResponseVote(ask.term))
        self.confirm("b", replica)
        self.assertTrue(replica.is_leader)
        return replica.status().term

    def confirm(self, name: str, replica: Replica) -> None:
        """
        Let a follower have the whole log.
        """
        entries = self.sent(AppendEntries)[-1]
        last = entries.prev_index + len(entries.entries)
        self.give(name, Reply(replica.status().term, last + 1, True, entries.probe))

    def propose(self, replica: Replica, **options: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(replica.propose(REGISTER, **options))


class AloneTests(ReplicaTests):
    def test_a_proposal_is_applied_at_once(self) -> None:
        replica = self.make(A)
        outcome = self.successResultOf(self.propose(replica))
        self.assertIsInstance(outcome, Registered)
        self.assertEqual(list(self.view.pool.servers), ["10.0.0.7:8080"])

    def test_it_leads(self) -> None:
        told: list[bool] = []
        replica = self.make(A)
        replica.on_leadership_change(told.append)
        self.assertTrue(replica.is_leader)
        self.successResultOf(Deferred.fromCoroutine(replica.stop()))
        self.assertEqual(told, [False])
        self.assertFalse(self.transport.running)

    def test_a_pause_is_no_time_without_a_leader(self) -> None:
        replica = self.make(A)
        self.pass_time(0.1)
        self.world.now += 60.0
        self.clock.rightNow += 60.0
        self.assertIsInstance(self.successResultOf(self.propose(replica)), Registered)

    def test_nothing_is_seen_before_it_is_on_disk(self) -> None:
        replica = self.make(A)
        self.held = []
        waiting = self.propose(replica)
        self.assertNoResult(waiting)
        self.assertEqual(self.view.pool.servers, {})
        self.let_go()
        self.successResultOf(waiting)
        self.assertEqual(len(self.view.pool.servers), 1)

    def test_many_proposals_share_a_sync(self) -> None:
        replica = self.make(A)
        self.held = []
        waiting = [self.propose(replica) for _ in range(50)]
        syncs = self.files.syncs
        self.let_go()
        self.let_go()
        self.clock.advance(0)
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(self.files.syncs - syncs, 2)

    def test_the_same_request_is_applied_once(self) -> None:
        replica = self.make(A)
        first = self.successResultOf(self.propose(replica, request_id="x"))
        again = self.successResultOf(self.propose(replica, request_id="x"))
        self.assertEqual((first, self.view.pool.index), (again, 1))

    def test_all_is_there_after_a_restart(self) -> None:
        replica = self.make(A)
        self.successResultOf(self.propose(replica))
        view = PoolView()
        again = Replica(
            A,
            Storage.open(self.files.crash()),
            _Transport(),
            view,
            self.clock,
            self._run_in_thread,
            Random(2),
        )
        self.successResultOf(Deferred.fromCoroutine(again.start()))
        self.assertEqual(view.pool, self.view.pool)
        self.assertEqual(replica.status().applied_index + 1, again.status().applied_index)

    def test_the_log_is_compacted(self) -> None:
        replica = self.make(A, settings=ReplicaSettings(limits=RaftLimits(log=10)))
        for _ in range(40):
            self.successResultOf(self.propose(replica))
            self.clock.advance(0)
        self.assertLess(len(self.storage), 20)
        assert self.storage.snapshot is not None
        self.assertGreater(self.storage.snapshot.last_index, 20)

    def test_status(self) -> None:
        status = self.make(A).status()
        self.assertEqual((status.role, status.leader, status.has_quorum), ("leader", "a", True))
        self.assertEqual((status.suspended, status.stale), (None, False))
        self.assertEqual([each.role for each in status.members], ["leader"])

    def test_the_last_member_stays(self) -> None:
        replica = self.make(A)
        self.failureResultOf(Deferred.fromCoroutine(replica.remove_member("a")), ProposalRefused)
        self.failureResultOf(
            Deferred.fromCoroutine(self.make().remove_member("a")), ProposalRefused
        )

    def test_nothing_is_pickled(self) -> None:
        with (
            mock.patch.object(pysyncobj.pickle, "loads", side_effect=AssertionError),
            mock.patch.object(pysyncobj.pickle, "dumps", side_effect=AssertionError),
        ):
            replica = self.make(A, settings=ReplicaSettings(limits=RaftLimits(log=4)))
            for _ in range(12):
                self.successResultOf(self.propose(replica))
                self.clock.advance(0)


class FollowerTests(ReplicaTests):
    def entry(self, request_id: str, index: int, term: int = 1) -> tuple[bytes, int, int]:
        envelope = Envelope(1, request_id, 0, REGISTER)
        return b"\0" + encode_envelope(envelope), index, term

    def test_a_vote_leaves_when_it_is_on_disk(self) -> None:
        self.make(A, B, C)
        self.held = []
        self.give("b", RequestVote(1, 2, 0))
        self.assertEqual(self.sent(ResponseVote), [])
        self.let_go()
        self.assertEqual(self.sent(ResponseVote), [ResponseVote(1)])

    def test_a_vote_does_not_leave_on_a_later_connection(self) -> None:
        self.make(A, B, C)
        self.held = []
        self.give("b", RequestVote(1, 2, 0))
        self.transport._onNodeDisconnected(PlainNode("b"))
        self.transport._onNodeConnected(PlainNode("b"))
        self.let_go()
        self.assertEqual(self.sent(ResponseVote), [])

    def test_a_proposal_goes_to_the_leader_and_ends_when_it_is_applied_here(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        waiting = self.propose(replica, request_id="x")
        (proposal,) = self.sent(Propose)
        self.assertEqual(proposal.request_id, "x")
        self.follow((proposal.command, 3, 1), commit=2)
        self.assertNoResult(waiting)
        self.follow((proposal.command, 3, 1), commit=3)
        self.assertIsInstance(self.successResultOf(waiting), Registered)

    def test_who_is_answered_reads_it(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        seen: list[list[str]] = []
        waiting = self.propose(replica, request_id="x")
        waiting.addCallback(lambda _: seen.append(list(self.view.pool.servers)))
        (proposal,) = self.sent(Propose)
        self.follow((proposal.command, 3, 1), commit=3)
        self.assertEqual(seen, [["10.0.0.7:8080"]])

    def test_a_consistent_read_waits_for_a_commit(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        waiting = Deferred.fromCoroutine(replica.barrier())
        (proposal,) = self.sent(Propose)
        # What was acknowledged elsewhere comes before it.
        others = self.entry("y", 3)[0]
        self.follow((others, 3, 1), (proposal.command, 4, 1), commit=3)
        self.assertNoResult(waiting)
        self.follow((others, 3, 1), (proposal.command, 4, 1), commit=4)
        self.successResultOf(waiting)
        self.assertEqual(self.view.pool.index, 1)

    def test_a_consistent_read_of_the_leader_waits_for_a_commit(self) -> None:
        replica = self.make(A, B, C)
        self.lead(replica)
        waiting = Deferred.fromCoroutine(replica.barrier())
        self.clock.advance(0)
        self.assertNoResult(waiting)
        self.confirm("b", replica)
        self.successResultOf(waiting)

    def test_it_is_sent_again_to_the_next_leader(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        waiting = self.propose(replica, request_id="x")
        self.give("c", AppendEntries(2, 2, 2, 0, [], 1))
        self.pass_time(0.1)
        self.assertEqual(
            [to for to, each in self.transport.messages if isinstance(each, Propose)], ["b", "c"]
        )
        self.assertNoResult(waiting)

    def test_without_a_leader_it_is_refused_in_time(self) -> None:
        replica = self.make(A, B, C)
        waiting = self.propose(replica, timeout=2.0)
        self.pass_time(1.9)
        self.assertNoResult(waiting)
        self.pass_time(0.2)
        error = self.failureResultOf(waiting, ProposalRefused)
        self.assertEqual(str(error.value), "there is no leader")

    def test_without_a_leader_for_long_it_is_refused_at_once(self) -> None:
        replica = self.make(A, B, C)
        self.pass_time(4.9)
        waiting = self.propose(replica, timeout=5.0)
        self.assertNoResult(waiting)
        self.pass_time(0.2)
        at_once = self.failureResultOf(self.propose(replica), ProposalRefused)
        self.assertIn("no leader with a majority", str(at_once.value))
        # Whoever waits already, waits for the leader that may come.
        self.follow(commit=2)
        self.assertNoResult(waiting)
        self.assertNoResult(self.propose(replica))
        self.assertEqual(len(self.sent(Propose)), 2)

    def test_what_only_this_leader_may_ask_for(self) -> None:
        """
        The next leader is not asked, whether this one has sent it to others or not.
        """
        replica = self.make(A, B, C)
        self.failureResultOf(
            Deferred.fromCoroutine(replica.propose_as_leader(REGISTER)), ProposalRefused
        )
        term = self.lead(replica)
        waiting = Deferred.fromCoroutine(replica.propose_as_leader(REGISTER))
        self.confirm("b", replica)
        self.assertIsInstance(self.successResultOf(waiting), Registered)

        waiting = Deferred.fromCoroutine(replica.propose_as_leader(REGISTER))
        lasting = self.propose(replica)
        self.give("b", AppendEntries(term + 1, 2, 2, 0, [], 1))
        self.failureResultOf(waiting, OutcomeUnknown)
        self.assertNoResult(lasting)
        self.assertEqual(len(self.sent(Propose)), 1)

    def test_what_only_a_leader_may_ask_for_that_is_deposed_by_a_step_under_way(self) -> None:
        for last_index, message in (
            (2, AppendEntries(9, 2, 2, 0, [], 1)),
            (99, RequestVote(9, 99, 99)),
        ):
            with self.subTest(last_index):
                replica = self.make(A, B, C)
                self.lead(replica)
                self.held = []
                self.give("b", message)
                self.assertTrue(replica.is_leader)
                asked = Deferred.fromCoroutine(replica.propose_as_leader(REGISTER))
                self.failureResultOf(asked, ProposalRefused)
                self.let_go()
                self.held = None

    def test_what_was_sent_and_not_heard_of_is_unknown(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        waiting = self.propose(replica, timeout=1.0)
        self.pass_time(1.1)
        self.failureResultOf(waiting, OutcomeUnknown)

    def test_what_every_attempt_was_denied_is_refused(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        waiting = self.propose(replica, timeout=1.0, request_id="x")
        for _ in range(30):
            if self.sent(Propose):
                self.transport.messages.clear()
                self.give("b", Denial("x", "it is full", final=False))
            self.follow(commit=2)
            self.pass_time(0.05)
        error = self.failureResultOf(waiting, ProposalRefused)
        self.assertEqual(str(error.value), "it is full")

    def test_what_was_committed_is_there_after_a_restart_without_a_leader(self) -> None:
        replica = self.make(A, B, C)
        self.follow(self.entry("x", 3), commit=3)
        self.assertEqual(len(self.view.pool.servers), 1)
        self.successResultOf(Deferred.fromCoroutine(replica.stop()))
        view = PoolView()
        again = Replica(
            A,
            Storage.open(self.files.crash()),
            _Transport(),
            view,
            self.clock,
            self._run_in_thread,
            Random(2),
        )
        self.held = []
        starting = Deferred.fromCoroutine(again.start())
        self.assertEqual(view.pool, self.view.pool)
        self.successResultOf(starting)
        self.let_go()

    def test_a_leader_that_is_silent_is_sent_nothing(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        self.assertEqual(replica.status().leader, "b")
        self.pass_time(1.0)
        self.assertIsNone(replica.status().leader)
        waiting = self.propose(replica, timeout=1.0)
        self.pass_time(1.1)
        self.failureResultOf(waiting, ProposalRefused)
        self.assertEqual(self.sent(Propose), [])

    def test_a_denial_after_an_attempt_that_is_in_doubt_leaves_it_unknown(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        waiting = self.propose(replica, request_id="x")
        self.give("c", AppendEntries(2, 2, 2, 0, [], 1))
        self.pass_time(0.1)
        self.give("c", Denial("x", "never", final=True))
        self.failureResultOf(waiting, OutcomeUnknown)

    def test_what_came_too_late_is_unknown(self) -> None:
        """
        An earlier copy of it may have been applied.
        """
        proposals = Proposals(self.clock, 0.1, 8, lambda: None)
        waiting = proposals.add("x", b"", 5.0)
        proposals.expire("x")
        self.failureResultOf(waiting, OutcomeUnknown)

    def test_a_snapshot_tells_the_outcome(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        waiting = self.propose(replica, request_id="x")
        state, _ = apply(Replicated(), self.entry("x", 3)[0][1:])
        data = encode_state(state)
        changes: list[Change] = []
        self.view.subscribe(changes.append)
        self.give("b", InstallSnapshot(1, 9, 1, [A, B, C], len(data), 0, data, 1))
        self.assertIsInstance(self.successResultOf(waiting), Registered)
        self.assertEqual([each.after for each in changes], list(state.pool.servers.values()))

    def test_too_many_proposals_are_refused(self) -> None:
        replica = self.make(A, B, C, settings=ReplicaSettings(proposals=2))
        for _ in range(2):
            self.propose(replica).addErrback(lambda _: None)
        self.failureResultOf(self.propose(replica), ProposalRefused)

    def test_an_impatient_caller_is_forgotten(self) -> None:
        replica = self.make(A, B, C)
        waiting = self.propose(replica)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertEqual(replica._proposals.ids, [])

    def test_what_is_newer_halts_the_node_and_keeps_its_pool(self) -> None:
        replica = self.make(A, B, C)
        self.follow(self.entry("x", 3), commit=3)
        newer = b"\0" + msgspec.msgpack.encode({"version": 4})
        with capturedLogs() as logs:
            self.give("b", AppendEntries(1, 4, 3, 1, [(newer, 4, 1)], 1))
            self.pass_time(0.2)
        (said,) = [eventAsText(each) for each in logs]
        self.assertIn("stops serving the cluster, and continues with the pool it has", said)
        self.assertIn("entry 4 is committed, and not understood", said)
        status = replica.status()
        self.assertEqual(
            status.suspended,
            "entry 4 is committed, and not understood: the command has version 4; known "
            "here: up to 3",
        )
        self.assertEqual((status.stale, self.transport.running), (True, False))
        self.assertEqual(len(self.view.pool.servers), 1)
        self.failureResultOf(self.propose(replica), ProposalRefused)

    def test_who_is_known(self) -> None:
        replica = self.make(A, B, C)
        self.assertEqual(replica.known("b"), B)
        # It follows nobody: d may have been added since.
        self.assertEqual(replica.known("d"), Member("d", ""))
        self.follow(commit=2)
        self.assertIsNone(replica.known("d"))

    def test_a_node_that_waits_to_be_taken_in(self) -> None:
        replica = self.make()
        self.assertEqual(replica.status().role, "joining")
        self.assertEqual(replica.known("b"), Member("b", ""))
        self.failureResultOf(self.propose(replica), ProposalRefused)
        self.transport._onNodeConnected(PlainNode("b"))
        data = encode_state(Replicated())
        self.give("b", InstallSnapshot(3, 9, 2, [A, B], len(data), 0, data, 1))
        self.assertEqual(replica.status().role, "follower")
        self.assertEqual(self.transport.nodes, ["b"])

    def test_a_node_tells_its_seat_once_that_is_certain(self) -> None:
        replica = self.make(A, B, C)
        incarnation = self.storage.incarnation
        self.assertEqual(replica.identity, Identity("a", incarnation))
        again = msgspec.structs.replace(A, joined=4, incarnation=incarnation, term=1)
        entries = (
            (encode_members(Members("x", (B, C))), 3, 1),
            (encode_members(Members("y", (again, B, C))), 4, 1),
        )
        self.follow(*entries, commit=3)
        self.assertEqual(replica.identity.seat, (0, 0))
        self.follow(*entries, commit=4)
        self.assertEqual(replica.identity.seat, (1, 4))

    def test_a_member_with_a_new_disk_is_met_anew(self) -> None:
        self.make(A, B, C)
        self.storage.remember_peer("c", "old")
        data = encode_state(Replicated())
        again = msgspec.structs.replace(C, joined=7)
        self.give("b", InstallSnapshot(3, 9, 2, [A, B, again], len(data), 0, data, 1))
        self.assertEqual(self.storage.peers, {})


class SlowDiskTests(ReplicaTests):
    """
    A leader whose disk takes its time.
    """

    def beats(self) -> list[AppendEntries]:
        found = self.sent(AppendEntries)
        self.transport.messages.clear()
        return found

    def test_heartbeats_do_not_wait_for_it(self) -> None:
        """
        They say what was on disk before, and go on for as long as a leader may be silent.
        """
        replica = self.make(A, B, C)
        term = self.lead(replica)
        self.confirm("c", replica)
        self.pass_time(0.2)
        status = replica.status()
        self.held = []
        self.propose(replica).addErrback(lambda _: None)
        self.beats()
        self.pass_time(1.0)
        beats = self.beats()
        self.assertGreaterEqual(len(beats), 2 * 8)
        for each in beats:
            self.assertEqual((each.term, each.entries), (term, []))
            self.assertEqual(each.commit_index, status.commit_index)
            self.assertLessEqual(each.prev_index, status.commit_index)
        self.pass_time(0.5)
        self.beats()
        self.pass_time(2.0)
        # A disk that hangs is no leader's.
        self.assertEqual(self.beats(), [])
        self.let_go()
        self.assertIn(1, [len(each.entries) for each in self.beats()])

    def test_not_on_a_later_connection(self) -> None:
        replica = self.make(A, B, C)
        self.lead(replica)
        self.confirm("c", replica)
        self.pass_time(0.2)
        self.held = []
        self.propose(replica).addErrback(lambda _: None)
        self.transport._onNodeDisconnected(PlainNode("b"))
        self.transport._onNodeConnected(PlainNode("b"))
        self.transport.messages.clear()
        self.pass_time(0.5)
        self.assertEqual({name for name, _ in self.transport.messages}, {"c"})

    def test_a_follower_has_none(self) -> None:
        replica = self.make(A, B, C)
        self.follow(commit=2)
        self.held = []
        self.give("b", AppendEntries(1, 2, 2, 0, [(b"\1", 3, 1)], 1))
        self.transport.messages.clear()
        self.pass_time(0.3)
        self.assertEqual(self.transport.messages, [])
        self.assertFalse(replica.is_leader)


class FormatTests(ReplicaTests):
    """
    Until all members are known to speak as this program does, nothing new is said; from then
    on all of them do for good.
    """

    VERDICTS = Verdicts((Report("10.0.0.7:8080", 1, State.UP, "connected", 2.0),))

    def propose_verdicts(self, replica: Replica) -> Deferred[Any]:
        return Deferred.fromCoroutine(replica.propose_as_leader(self.VERDICTS))

    def reply(self, name: str, replica: Replica, version: int) -> None:
        last = self.storage[-1][1]
        probe = self.sent(AppendEntries)[-1].probe
        self.give(name, Reply(replica.status().term, last + 1, True, probe, version))

    def test_alone(self) -> None:
        replica = self.make(A)
        self.clock.advance(0)
        self.assertEqual(replica.format, 3)
        self.assertEqual(self.view.pool, Pool())
        self.successResultOf(self.propose(replica))
        outcome = self.successResultOf(self.propose_verdicts(replica))
        self.assertIsInstance(outcome, Judged)
        self.assertEqual([each.state for each in self.view.pool.servers.values()], [State.UP])
        self.assertEqual(self.view.pool.index, 2)
        # It is said once, and known after a restart.
        said = sum(b"format 3" in command for command, _, _ in self.storage[:])
        self.assertEqual(said, 1)
        self.assertEqual(decode_state(replica.machine.encode()), replica.state)

    def test_one_is_not_heard(self) -> None:
        replica = self.make(A, B, C)
        self.lead(replica)
        self.reply("b", replica, 2)
        self.pass_time(1.0)
        self.assertEqual(replica.format, 1)
        self.reply("c", replica, 2)
        self.pass_time(0.1)
        self.reply("c", replica, 2)
        self.assertEqual(replica.format, 2)
        self.assertEqual(replica.identity.format, NEWEST_FORMAT)

    def test_in_steps(self) -> None:
        """
        The format rises as far as all members understand it, and again when they are upgraded.
        """
        replica = self.make(A, B, C)
        self.lead(replica)
        formats = []
        for version in (2, NEWEST_FORMAT):
            self.reply("b", replica, NEWEST_FORMAT)
            for _ in range(4):
                self.reply("c", replica, version)
                self.pass_time(0.1)
            formats.append(replica.format)
        self.assertEqual(formats, [2, NEWEST_FORMAT])

    def test_one_is_older(self) -> None:
        replica = self.make(A, B, C)
        self.lead(replica)
        for name, version in (("b", 2), ("c", 1)):
            self.reply(name, replica, version)
        self.pass_time(0.5)
        self.assertEqual(replica.format, 1)
        self.failureResultOf(self.propose_verdicts(replica), ProposalRefused)

    def test_a_restart_does_not_forget_it(self) -> None:
        """
        A node that has seen the raising speaks no version of the handshake that does not
        encrypt, from its start on: before it hears anybody, also after a loss of power.
        """
        replica = self.make(A, B, C)
        self.assertEqual(versions_at(replica.format), VERSIONS)
        raised = b"\0" + encode_envelope(Envelope(3, "format 3", 0, RaiseFormat(3)))
        self.follow((raised, 3, 1), commit=3)
        self.assertEqual(versions_at(replica.format), (4, 4))
        again = Replica(
            A,
            Storage.open(self.files.crash(Random(1), power=True)),
            _Transport(),
            PoolView(),
            self.clock,
            self._run_in_thread,
            Random(2),
        )
        self.successResultOf(Deferred.fromCoroutine(again.start()))
        self.assertEqual(versions_at(again.format), (4, 4))

    def test_no_hearing_is_needed_later(self) -> None:
        """
        The next leader says what is new before it has heard anybody.
        """
        replica = self.make(A, B, C)
        raised = b"\0" + encode_envelope(Envelope(2, "format 2", 0, RaiseFormat(2)))
        self.follow((raised, 3, 1), commit=3)
        self.assertEqual(replica.format, 2)
        self.lead(replica)
        waiting = self.propose_verdicts(replica)
        self.assertNoResult(waiting)
        self.assertEqual(envelope_version(self.storage[-1][0][1:]), 2)


class DiskTests(ReplicaTests):
    def fail_next(self) -> None:
        self.files.fail_at = {self.files.operations}

    def test_a_failed_write_suspends_and_nothing_leaves(self) -> None:
        replica = self.make(A, B, C)
        self.fail_next()
        self.give("b", RequestVote(1, 2, 0))
        self.assertEqual(self.sent(ResponseVote), [])
        status = replica.status()
        self.assertEqual(status.suspended, "this node cannot write its log: Input/output error")
        self.assertFalse(self.transport.running)
        self.failureResultOf(self.propose(replica), ProposalRefused)
        self.pass_time(1.2)
        self.assertIsNone(replica.status().suspended)
        self.assertTrue(self.transport.running)
        self.assertEqual(self.sent(ResponseVote), [])
        # The vote stands.
        self.assertEqual(Storage.open(self.files.crash()).getVotedForNodeId(), "b")

    def test_what_waited_is_seen_once_it_is_written(self) -> None:
        replica = self.make(A)
        self.fail_next()
        waiting = self.propose(replica)
        self.failureResultOf(waiting, OutcomeUnknown)
        self.assertFalse(replica.is_leader)
        self.assertEqual(self.view.pool.servers, {})
        self.pass_time(1.2)
        self.assertEqual(len(self.view.pool.servers), 1)
        self.assertTrue(replica.is_leader)

    def test_a_file_that_is_removed(self) -> None:
        """
        A write into a file that nobody will find is none: nobody is told of it before the file is
        there again, with all that the node knows.
        """
        replica = self.make(A)
        self.files.lose(NAME)
        with capturedLogs() as logs:
            waiting = self.propose(replica)
        self.failureResultOf(waiting, OutcomeUnknown)
        self.assertEqual(self.view.pool.servers, {})
        self.assertIn("raft.log was removed; it takes no part", "".join(map(formatEvent, logs)))
        self.pass_time(1.2)
        self.assertTrue(replica.is_leader)
        self.assertEqual(len(self.view.pool.servers), 1)
        again = Storage.open(self.files.crash())
        self.assertEqual(again[-1], self.storage[-1])
        self.assertEqual(again.incarnation, self.storage.incarnation)

    def test_a_directory_that_is_removed(self) -> None:
        """
        It is missed within two seconds, though nothing is written. The node goes on once it is
        back.
        """
        replica = self.make(A)
        self.files.away = True
        self.pass_time(2.0)
        self.assertEqual(
            replica.status().suspended,
            "this node cannot write its log: the state directory was removed",
        )
        self.assertFalse(replica.is_leader)
        self.failureResultOf(self.propose(replica), ProposalRefused)
        self.pass_time(5.0)
        self.assertFalse(replica.is_leader)
        self.files.away = False
        self.pass_time(1.2)
        self.assertTrue(replica.is_leader)

    def test_a_stop_while_it_looks_for_its_file(self) -> None:
        """
        It waits for the thread that looks.
        """
        replica = self.make(A)
        self.held = []
        self.pass_time(1.1)
        stopping = Deferred.fromCoroutine(replica.stop())
        self.assertNoResult(stopping)
        self.let_go()
        self.let_go()
        self.successResultOf(stopping)

    def test_a_stop_while_it_is_suspended(self) -> None:
        replica = self.make(A)
        self.files.read_only = True
        self.failureResultOf(self.propose(replica), OutcomeUnknown)
        stopping = Deferred.fromCoroutine(replica.stop())
        self.pass_time(1.2)
        self.successResultOf(stopping)

    def test_a_stop_waits_for_the_write_under_way(self) -> None:
        replica = self.make(A)
        self.held = []
        waiting = self.propose(replica)
        stopping = Deferred.fromCoroutine(replica.stop())
        self.failureResultOf(waiting, OutcomeUnknown)
        self.assertNoResult(stopping)
        self.let_go()
        self.let_go()
        self.successResultOf(stopping)


class PhaseTests(ReplicaTests):
    """
    The phases of a node's part in the cluster.
    """

    def phase(self, replica: Replica) -> str:
        phase: str = replica._steps.phase.value
        self.assertIn(f"<Steps {phase}", repr(replica))
        return phase

    def test_a_disk_that_fails_for_a_while(self) -> None:
        replica = self.make(A, B, C)
        self.assertEqual(self.phase(replica), "running")
        self.assertIn("<RaftAdapter follower of term 0 at 2/2>", repr(replica))
        self.files.fail_at = {self.files.operations}
        self.give("b", RequestVote(1, 2, 0))
        self.assertEqual(self.phase(replica), "suspended")
        self.pass_time(1.2)
        self.assertEqual(self.phase(replica), "running")
        self.successResultOf(Deferred.fromCoroutine(replica.stop()))
        self.assertEqual(self.phase(replica), "stopped")

    def test_a_fault_of_the_program(self) -> None:
        """
        Better no part than a wrong one.
        """
        replica = self.make(A, B, C)
        with mock.patch.object(replica._engine, "receive", side_effect=ZeroDivisionError("oh")):
            self.give("b", RequestVote(1, 2, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.phase(replica), "halted")
        self.assertEqual(replica.halted, "this node has failed: oh")
        self.assertFalse(self.transport.running)
        self.failureResultOf(self.propose(replica), ProposalRefused)

    def test_a_leader_that_has_lost_count_of_a_follower(self) -> None:
        """
        A fault of the program halts the node also where its heartbeats meet that fault.
        """
        replica = self.make(A, B, C)
        self.lead(replica)
        raft = replica._engine.raft
        raft.match_index.clear()
        self.pass_time(0.2)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.phase(replica), "halted")
        self.assertFalse(self.transport.running)
        self.assertFalse(replica.is_leader)

    def halt(self, replica: Replica) -> None:
        """
        Have it meet a fault of the program beside its steps.
        """
        replica._fail(Failure(ZeroDivisionError("oh")))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.phase(replica), "halted")

    def test_a_fault_while_a_step_is_written(self) -> None:
        replica = self.make(A, B, C)
        self.held = []
        self.give("b", RequestVote(1, 2, 0))
        self.halt(replica)
        self.let_go()
        self.pass_time(0.2)
        self.assertEqual(self.sent(ResponseVote), [])
        self.assertEqual(self.phase(replica), "halted")

    def test_a_fault_while_a_write_fails(self) -> None:
        """
        A node that is halted stays so when its disk fails, and when that can be written
        again.
        """
        replica = self.make(A, B, C)
        self.held = []
        self.give("b", RequestVote(1, 2, 0))
        self.halt(replica)
        ((_, writing),) = self.held
        self.held = None
        writing.errback(OSError(EIO, "Input/output error"))
        self.assertEqual(self.phase(replica), "halted")
        self.pass_time(1.5)
        self.assertEqual(self.phase(replica), "halted")
        self.assertFalse(self.transport.running)

    def test_a_fault_while_it_is_suspended(self) -> None:
        replica = self.make(A, B, C)
        self.files.fail_at = {self.files.operations}
        self.give("b", RequestVote(1, 2, 0))
        self.assertEqual(self.phase(replica), "suspended")
        self.halt(replica)
        with mock.patch.object(self.transport, "start") as start:
            self.pass_time(1.5)
        start.assert_not_called()
        self.assertEqual(self.phase(replica), "halted")
        self.successResultOf(Deferred.fromCoroutine(replica.stop()))

    def test_a_stop_before_its_transport_is_started(self) -> None:
        listening: Deferred[None] = Deferred()
        transport = _Transport()
        replica = Replica(
            A,
            Storage.open(FakeFiles()),
            transport,
            PoolView(),
            self.clock,
            self._run_in_thread,
            Random(1),
        )
        with mock.patch.object(transport, "start", return_value=listening):
            starting = Deferred.fromCoroutine(replica.start())
        self.successResultOf(Deferred.fromCoroutine(replica.stop()))
        listening.callback(None)
        self.successResultOf(starting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_before_it_is_started(self) -> None:
        storage = Storage.open(FakeFiles())
        replica = Replica(
            A, storage, _Transport(), PoolView(), self.clock, self._run_in_thread, Random(1)
        )
        self.assertEqual(self.phase(replica), "new")
        error = self.failureResultOf(self.propose(replica), ProposalRefused)
        self.assertEqual(str(error.value), "this node is stopped")
