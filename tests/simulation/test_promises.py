"""
The simulation's oracle: each of its invariants finds a violation that is planted.
"""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.commands import Commands
from alacrity.cluster.raft.elections import Elections
from alacrity.cluster.raft.engine import Engine, Rooms
from alacrity.cluster.raft.environment import Environment, RaftLimits, RaftTiming
from alacrity.cluster.raft.following import Following
from alacrity.cluster.raft.mail import Send
from alacrity.cluster.raft.membership import Members, bootstrap, encode_members
from alacrity.cluster.raft.messages import (
    AppendEntries,
    PreVote,
    PreVoteReply,
    Reply,
    RequestVote,
    ResponseVote,
    TimeoutNow,
    plain,
)
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.replication import Replication
from tests.cluster.raft.engines import Notes, Sent
from tests.simulation.clock import patched, use
from tests.simulation.nodes import member, peer
from tests.simulation.promises import INVARIANTS
from tests.simulation.raft_ledger import RaftLedger
from tests.simulation.variants import WithoutG1, WithoutG2, WithoutG4
from tests.simulation.watching import watching
from tests.simulation.world import Time, World
from tests.support.fake_files import FakeFiles

NAMES = ("n1", "n2", "n3")


def entry(index: int, term: int) -> tuple[bytes, int, int]:
    return REGULAR + b"%d@%d" % (index, term), index, term


class _Disk:
    """
    A node with a disk, and an engine that says what a test wants.
    """

    def __init__(self, ledger: RaftLedger, name: str) -> None:
        self.name = name
        self.files = FakeFiles()
        self.time = Time(World(0))
        self.storage = Storage.open(self.files, new_incarnation=lambda: f"{ord(name[-1]):032x}")
        bootstrap(self.storage, tuple(map(member, NAMES)), b"state")
        self.storage.sync()
        self.engine = SimpleNamespace(
            term=0,
            role=0,
            commit_index=2,
            applied_index=2,
            last_index=2,
            configuration=tuple(map(member, NAMES)),
            halted=None,
            raft=SimpleNamespace(
                vote=None,
                others={peer(each) for each in NAMES if each != name},
                match_index={},
            ),
        )
        self.transport: Any = None
        self.replica: Any = SimpleNamespace(
            _engine=self.engine,
            _proposals=SimpleNamespace(_waiting={}),
            _settings=SimpleNamespace(proposals=2, limits=RaftLimits(log=1, backlog=1)),
            _storage=self.storage,
            is_leader=False,
        )
        ledger.watch(self)
        ledger.disk(name)

    def append(self, *entries: tuple[bytes, int, int]) -> None:
        for each in entries:
            self.storage.add(*each)
        self.storage.sync()

    def vote(self, term: int, name: str | None, *, sync: bool = True) -> None:
        self.storage.setCurrentTerm(term, name)
        if sync:
            self.storage.sync()

    def commit(self, index: int, term: int = 1) -> None:
        self.engine.term = term
        self.engine.role = LEADER
        self.engine.commit_index = index

    def change(self, index: int, term: int, *names: str) -> None:
        members = Members("change", tuple(map(member, names)))
        self.append((encode_members(members), index, term))


class LedgerTests(SynchronousTestCase):
    """
    The ledger's verdicts on disks and messages.
    """

    def setUp(self) -> None:
        self.ledger = RaftLedger(World(1))
        self.a, self.b, self.c = (_Disk(self.ledger, name) for name in NAMES)

    def finds(self, invariant: str) -> None:
        self.assertIn(invariant, INVARIANTS)
        broken = {each.partition(":")[0] for each in self.ledger.violations}
        self.assertIn(invariant, broken, self.ledger.violations)

    def finds_nothing(self) -> None:
        self.assertEqual(self.ledger.violations, [])

    def elect(self, node: _Disk, term: int, *voters: _Disk) -> None:
        node.vote(term, node.name)
        self.ledger._granted[term, node.name] = set(NAMES)
        self.ledger.sent(node.name, "n9", {"type": "request_vote", "term": term})
        for voter in voters:
            voter.vote(term, node.name)
            self.ledger.sent(voter.name, node.name, {"type": "response_vote", "term": term})

    def committed(self) -> None:
        """
        n1 leads term 1, and has committed entry 3, with n2.
        """
        self.elect(self.a, 1, self.b)
        for each in (self.a, self.b):
            each.append(entry(3, 1))
        self.a.commit(3)
        self.ledger.released("n1")
        self.finds_nothing()

    def test_what_is_right(self) -> None:
        self.committed()

    def test_two_votes(self) -> None:
        self.elect(self.a, 1, self.b)
        # Whatever its disk says.
        self.ledger.disks["n2"].vote = "n3"
        self.ledger.sent("n2", "n3", {"type": "response_vote", "term": 1})
        self.finds("one vote a term")

    def test_two_votes_across_a_restart(self) -> None:
        self.elect(self.a, 1, self.b)
        self.b.files = self.b.files.crash()
        self.ledger.sent("n2", "n3", {"type": "response_vote", "term": 1})
        self.finds("one vote a term")

    def test_term_not_on_disk(self) -> None:
        self.b.vote(4, None, sync=False)
        self.ledger.sent("n2", "n1", {"type": "append_entries", "term": 4, "commit_index": 2})
        self.finds("term on disk")

    def test_vote_not_on_disk(self) -> None:
        self.b.vote(4, None)
        self.b.vote(4, "n1", sync=False)
        self.ledger.sent("n2", "n1", {"type": "response_vote", "term": 4})
        self.finds("vote on disk")

    def test_confirmed_and_not_on_disk(self) -> None:
        self.b.vote(1, "n1")
        self.b.storage.add(*entry(3, 1))
        reply = {"type": "next_node_idx", "term": 1, "next_node_idx": 4, "success": True}
        self.ledger.sent("n2", "n1", reply)
        self.finds("match on disk")

    def test_match_of_another_entry(self) -> None:
        self.committed()
        self.c.append(entry(3, 0))
        self.a.engine.raft.match_index = {peer("n3"): 3}
        self.ledger.released("n1")
        self.finds("match on disk")

    def test_vote_lost_by_another_file(self) -> None:
        self.b.vote(3, "n1")
        self.ledger.disk("n2")
        self.b.storage._state.vote = None
        self.b.storage.rewrite()
        self.ledger.disk("n2")
        self.finds("disk keeps")

    def test_entry_lost_by_another_file(self) -> None:
        self.committed()
        del self.b.storage._state.entries[-1]
        self.b.storage.rewrite()
        self.ledger.disk("n2")
        self.finds("disk keeps")

    def test_vote_forgotten_at_a_restart(self) -> None:
        self.b.vote(3, "n1")
        self.b.engine.term = 3
        self.ledger.started("n2")
        self.finds("restart keeps")

    def test_leads_by_a_minority(self) -> None:
        self.elect(self.a, 1)
        self.a.commit(2)
        self.ledger.released("n1")
        self.finds("votes of a majority")

    def test_stands_unasked(self) -> None:
        self.a.vote(1, "n1")
        self.ledger.sent("n1", "n2", {"type": "request_vote", "term": 1})
        self.finds("pre-votes of a majority")

    def test_stands_as_the_leader_has_asked(self) -> None:
        self.a.vote(1, "n1")
        self.ledger.sent("n3", "n1", {"type": "timeout_now", "term": 0})
        self.ledger.sent("n1", "n2", {"type": "request_vote", "term": 1})
        self.finds_nothing()

    def test_two_leaders(self) -> None:
        self.ledger.leads("n1", 1)
        self.ledger.leads("n2", 1)
        self.finds("one leader a term")

    def test_leads_without_what_is_committed(self) -> None:
        self.committed()
        self.elect(self.c, 2, self.b)
        self.c.commit(2, term=2)
        self.ledger.released("n3")
        self.finds("leader completeness")

    def test_commit_of_a_minority(self) -> None:
        self.elect(self.a, 1, self.b)
        self.a.append(entry(3, 1))
        self.a.commit(3)
        self.ledger.released("n1")
        self.finds("commit of a majority")

    def test_commit_by_members_who_are_none_any_more(self) -> None:
        self.elect(self.a, 1, self.b)
        for each in (self.a, self.b):
            each.change(3, 1, "n1", "n2", "n3", "n4")
        self.a.commit(3)
        self.ledger.released("n1")
        self.finds("commit of a majority")

    def test_commit_of_an_earlier_term(self) -> None:
        self.elect(self.a, 2, self.b)
        for each in (self.a, self.b):
            each.append(entry(3, 1))
        self.a.commit(3, term=2)
        self.ledger.released("n1")
        self.finds("commit of its term")

    def test_two_entries_committed_at_one_index(self) -> None:
        self.committed()
        self.c.append(entry(3, 2))
        self.c.engine.commit_index = 3
        self.ledger.released("n3")
        self.finds("state machine safety")

    def test_two_entries_of_one_index_and_term(self) -> None:
        self.a.append(entry(3, 1))
        self.b.append((REGULAR + b"another", 3, 1))
        for name in NAMES:
            self.ledger.disk(name)
        self.finds("log matching")

    def test_two_entries_before_the_same(self) -> None:
        self.a.append(entry(3, 1), entry(4, 2))
        self.b.append(entry(3, 0), entry(4, 2))
        for name in NAMES:
            self.ledger.disk(name)
        self.finds("log matching")

    def test_committed_and_truncated(self) -> None:
        self.committed()
        self.b.storage.deleteEntriesFrom(1)
        self.b.append(entry(3, 2))
        self.ledger.disk("n2")
        self.finds("committed stays")

    def test_commit_that_did_not_happen(self) -> None:
        self.elect(self.a, 1, self.b)
        self.ledger.sent("n1", "n2", {"type": "append_entries", "term": 1, "commit_index": 3})
        self.finds("commit told")

    def test_snapshot_of_what_is_not_committed(self) -> None:
        self.a.append(entry(3, 1))
        rewrite = self.a.storage.prepare(Snapshot(b"", 3, 1, tuple(map(member, NAMES))))
        rewrite.write()
        self.a.storage.adopt(rewrite)
        self.a.storage.sync()
        self.ledger.disk("n1")
        self.finds("snapshot of commits")

    def test_snapshot_of_members_who_are_none(self) -> None:
        self.committed()
        rewrite = self.a.storage.prepare(Snapshot(b"", 3, 1, (member("n1"),)))
        rewrite.write()
        self.a.storage.adopt(rewrite)
        self.a.storage.sync()
        self.ledger._committed_members.append((3, NAMES))
        self.ledger.disk("n1")
        self.finds("snapshot of commits")

    def test_members_that_the_log_does_not_have(self) -> None:
        self.a.engine.configuration = (member("n1"),)
        self.ledger.released("n1")
        self.finds("members by the log")

    def test_seen_and_not_on_disk(self) -> None:
        self.a.engine.applied_index = 3
        self.a.storage.add(*entry(3, 1))
        self.ledger.applied("n1", 1, "r", 0)
        self.finds("seen on disk")

    def test_a_step_that_is_not_on_disk(self) -> None:
        self.a.engine.last_index = 3
        self.a.storage.add(*entry(3, 1))
        self.ledger.released("n1")
        self.finds("seen on disk")

    def test_a_message_of_an_earlier_connection(self) -> None:
        message = {"type": "append_entries", "term": 0, "commit_index": 2}
        self.a.engine.made = {id(message): (message, 1)}
        self.a.transport = SimpleNamespace(changes={"n2": 1})
        self.ledger.sent("n1", "n2", message)
        self.finds_nothing()
        self.a.transport.changes["n2"] = 2
        self.ledger.sent("n1", "n2", message)
        self.finds("own connection")

    def test_two_changes(self) -> None:
        self.committed()
        log = self.a.storage
        self.ledger.members_change("n1", 5, 4, log, set())
        self.finds("one change at a time")

    def test_change_before_a_commit(self) -> None:
        self.committed()
        self.a.engine.term = 2
        self.ledger.members_change("n1", 4, 0, self.a.storage, {"n4"})
        self.finds("change after commit")

    def test_taken_in_without_the_log(self) -> None:
        self.committed()
        empty = _Disk(self.ledger, "n4")
        empty.files = FakeFiles()
        self.a.engine.configuration = tuple(map(member, (*NAMES, "n4")))
        self.ledger.members_change("n1", 4, 0, self.a.storage, {"n4"})
        self.finds("caught up")

    def test_taken_in_by_what_it_confirmed_before(self) -> None:
        self.committed()
        _Disk(self.ledger, "n4")
        self.a.engine.configuration = tuple(map(member, (*NAMES, "n4")))
        self.ledger.members_change("n1", 4, 0, self.a.storage, set())
        self.finds("caught up")

    def test_an_entry_without_incarnations(self) -> None:
        self.committed()
        self.ledger.members_change("n1", 4, 0, self.a.storage, set())
        self.finds("incarnations told")

    def test_a_learner_that_counts(self) -> None:
        self.a.engine.raft.others = {peer(each) for each in ("n2", "n3", "n4")}
        self.ledger.released("n1")
        self.finds("members by the log")

    def test_a_member_that_was_met_and_is_not_remembered(self) -> None:
        self.ledger.met("n1", "n2", member("n2"))
        self.finds("met is kept")

    def test_read_of_what_is_old(self) -> None:
        self.ledger.read("n1", 3)
        self.finds("read index")

    def test_leads_before_it_has_applied(self) -> None:
        self.committed()
        self.b.engine.term = 2
        self.b.replica.is_leader = True
        self.ledger.told_leading("n2")
        self.finds("leads once applied")

    def test_a_vote_without_files(self) -> None:
        self.ledger.wiped("n2")
        self.b.storage.close()
        self.b.files = FakeFiles()
        self.b.storage = Storage.open(self.b.files, new_incarnation=lambda: "9" * 32)
        bootstrap(self.b.storage, tuple(map(member, NAMES)), b"state")
        self.b.vote(1, "n1")
        self.ledger.sent("n2", "n1", plain(ResponseVote(1)))
        self.finds("lost files are silent")

    def test_another_cluster_of_the_same_members(self) -> None:
        members = tuple(map(member, NAMES))
        self.ledger.led("n1", 1, members, "")
        self.ledger.led("n1", 1, members, "1" * 16)
        self.ledger.led("n2", 2, members, "1" * 16)
        self.ledger.led("n1", 2, members[:1], "2" * 16)
        self.finds_nothing()
        self.ledger.led("n2", 3, members, "")
        self.finds("one cluster id")

    def test_too_many_proposals(self) -> None:
        self.a.replica._proposals._waiting = dict.fromkeys("abc")
        self.ledger.released("n1")
        self.finds("bounded")

    def test_log_without_end(self) -> None:
        self.a.append(*(entry(index, 1) for index in range(3, 80)))
        self.ledger.bounded(self.a)
        self.finds("bounded")

    def test_acknowledged_before_it_is_shown(self) -> None:
        self.ledger.applied("n1", 1, "r", 0)
        self.ledger.shown("n1", "r", 0)
        self.assertIn("acknowledged before it was shown", self.ledger.violations[0])


class _LooseElections(Elections):
    def on_request_vote(self, peer: Peer, message: RequestVote) -> None:
        self._raft.set_term(message.term, peer.id)

    def on_pre_vote(self, peer: Peer, message: PreVote) -> None:
        self._raft.send(peer, PreVoteReply(message.term, self._raft.term, granted=True))


class _LooseFollowing(Following):
    def follow(self, peer: Peer, term: int, probe: int) -> bool:
        self._raft.set_leader(peer)
        return True


class _LooseReplication(Replication):
    def counts(self, peer: Peer, term: int) -> bool:
        return False


class _Loose(Engine):
    """
    It votes for anybody, encourages anybody, and follows anybody.
    """

    def __init__(self, environment: Environment) -> None:
        rooms = Rooms(
            elections=_LooseElections, following=_LooseFollowing, replication=_LooseReplication
        )
        super().__init__(environment, rooms)

    def _enter_later_term(self, term: int) -> None:
        """It does not look."""


class _MisledReplication(Replication):
    def on_reply(self, peer: Peer, message: Reply) -> None:
        self.probe(peer, message.next_node_idx)


class _Misled(Engine):
    """
    It takes any answer for one to its latest attempt.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, Rooms(replication=_MisledReplication))


class _PresumingAdapter(RaftAdapter):
    def _SyncObj__onBecomeLeader(self) -> None:
        super()._SyncObj__onBecomeLeader()
        self.match_index[peer("n2")] = 3


class _Presuming(Engine):
    """
    It begins to lead with what it would like to be confirmed.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, Rooms(adapter=_PresumingAdapter))


class _TruncatingCommands(Commands):
    def take_waiting(self) -> None:
        log = self._raft.log
        if len(log) > 1:
            log.deleteEntriesFrom(len(log) - 1)


class _Truncating(Engine):
    """
    It forgets the end of its log with each tick, and its vote with each message.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment, Rooms(commands=_TruncatingCommands))


class WatchingTests(SynchronousTestCase):
    """
    The watched engine's verdicts on transitions.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)
        self.ledger = RaftLedger(self.world)

    def make(self, kind: type[Engine] = Engine, **limits: int) -> Any:
        files = FakeFiles()
        storage = Storage.open(files)
        bootstrap(storage, tuple(map(member, NAMES)), msgspec.msgpack.encode([]))
        self.sent = Sent()
        notes = Notes()
        engine: Any = watching(kind)(
            Environment(
                member("n1"),
                storage,
                self.sent,
                notes,
                notes,
                Random(1),
                RaftTiming(),
                RaftLimits(**limits),
            )
        )
        engine.ledger = self.ledger
        engine._transport.traffic = []
        for name in self.sent.nodes:
            engine.connected(peer(name))
        for name in NAMES:
            self.ledger.watch(_Watched(name, FakeFiles()))
        return engine

    def give(self, engine: Any, name: str, message: Any) -> None:
        def send(node: Peer, said: dict[str, Any]) -> bool:
            engine._transport.traffic.append(Send(node, said, 0))
            return True

        engine._transport.send = send
        engine.receive(peer(name), plain(message))

    def lead(self, engine: Any) -> None:
        log = engine.raft.log
        engine.raft.set_term(1, "n1")
        engine.raft._SyncObj__onBecomeLeader()
        log.sync()

    def finds(self, invariant: str) -> None:
        broken = {each.partition(":")[0] for each in self.ledger.violations}
        self.assertIn(invariant, broken, self.ledger.violations)

    def append(self, term: int, *entries: tuple[bytes, int, int], prev: int = 2) -> AppendEntries:
        return AppendEntries(term, 2, prev, 0, list(entries), 1)

    def test_what_is_right(self) -> None:
        engine = self.make()
        self.give(engine, "n2", self.append(1, entry(3, 1)))
        self.give(engine, "n3", RequestVote(2, 3, 1))
        self.assertEqual(self.ledger.violations, [])

    def test_a_vote_for_a_short_log(self) -> None:
        engine = self.make(_Loose)
        self.give(engine, "n3", RequestVote(2, 1, 0))
        self.finds("vote up to date")

    def test_a_vote_that_is_changed(self) -> None:
        engine = self.make(_Loose)
        self.give(engine, "n3", RequestVote(2, 2, 0))
        self.give(engine, "n2", RequestVote(2, 2, 0))
        self.finds("nothing back")

    def test_a_pre_vote_beside_a_leader(self) -> None:
        engine = self.make(_Loose)
        self.give(engine, "n2", self.append(0))
        self.give(engine, "n3", PreVote(1, 2, 0))
        self.finds("pre-vote in silence")

    def test_a_question_for_pre_votes_beside_a_leader(self) -> None:
        engine = self.make()
        self.give(engine, "n2", self.append(1))
        engine.raft.send(peer("n3"), PreVote(2, 2, 0))
        self.finds("pre-vote in silence")

    def test_a_commit_of_what_did_not_come(self) -> None:
        engine = self.make(WithoutG1)
        self.give(engine, "n2", self.append(1, entry(3, 1)))
        self.give(engine, "n2", AppendEntries(1, 3, 2, 0, [], 1))
        self.finds("confirmed what came")

    def test_a_later_term_that_is_passed_over(self) -> None:
        engine = self.make(_Loose)
        self.give(engine, "n2", Reply(5, 3, success=True, probe=1))
        self.finds("later term")

    def test_an_earlier_leader_that_is_followed(self) -> None:
        engine = self.make(_Loose)
        engine.raft.set_term(4, None)
        self.give(engine, "n2", self.append(1))
        self.finds("message of this term")

    def test_a_reply_to_an_earlier_leadership(self) -> None:
        engine = self.make(WithoutG4)
        self.lead(engine)
        self.give(engine, "n2", Reply(0, 4, success=True, probe=1))
        self.finds("reply of this term")

    def test_an_answer_to_an_earlier_attempt(self) -> None:
        engine = self.make(_Misled)
        self.lead(engine)
        self.give(engine, "n2", Reply(1, 1, success=False, probe=99))
        self.finds("reply of this attempt")

    def test_a_version_that_was_told_before(self) -> None:
        engine = self.make()
        self.lead(engine)
        engine.replication.versions[peer("n2")] = 1
        engine.tick()
        self.finds("version told")

    def test_a_confirmation_of_what_did_not_come(self) -> None:
        engine = self.make(WithoutG1)
        self.give(engine, "n2", self.append(1, entry(3, 1)))
        self.give(engine, "n2", self.append(1))
        self.finds("confirmed what came")

    def test_a_leader_that_truncates(self) -> None:
        engine = self.make(_Truncating)
        self.lead(engine)
        engine.tick()
        self.finds("leader appends")

    def test_a_commit_that_is_taken_back(self) -> None:
        engine = self.make(WithoutG2)
        self.give(engine, "n2", self.append(1, entry(3, 1)))
        engine.raft.commit(3)
        self.give(engine, "n2", self.append(1))
        self.finds("nothing back")

    def test_a_leader_that_nobody_answers(self) -> None:
        engine = self.make()
        self.lead(engine)
        engine.tick()
        self.world.now += 5
        for peer_ in engine.raft.sorted_others:
            # It takes itself for heard.
            engine.raft.last_response[peer_] = self.world.now
        engine.tick()
        self.finds("leader heard")

    def test_a_stall_is_nobodys_silence(self) -> None:
        engine = self.make()
        self.lead(engine)
        engine.tick()
        self.world.now += 1.4
        self.ledger.nodes["n1"].time.rested = 1.3
        engine.discount_stall(1.3)
        engine.tick()
        self.assertEqual(self.ledger.violations, [])
        self.world.now += 1.0
        engine.tick()
        self.assertEqual(self.ledger.violations, [])
        self.assertEqual(engine.role, LEADER)

    def test_a_stall_that_was_none(self) -> None:
        engine = self.make()
        self.lead(engine)
        engine.tick()
        self.world.now += 1.4
        engine.discount_stall(1.3)
        self.finds("leader heard")

    def test_a_new_leader_that_knows_what_it_cannot(self) -> None:
        engine = self.make(_Presuming)
        engine.elections.forget_votes()
        engine.raft.set_term(1, "n1")
        engine.raft._SyncObj__raftState = 1
        engine.raft._SyncObj__votesCount = 1
        self.give(engine, "n2", ResponseVote(1))
        self.finds("nothing known")

    def test_a_removed_node_that_is_told_nothing(self) -> None:
        engine = self.make()
        self.lead(engine)
        engine.raft.log.add(encode_members(Members("x", (member("n1"), member("n2")))), 4, 1)
        engine.raft.mark_applied(4)
        engine.replication.send_to = lambda peer: None
        engine.reconfiguration.configure()
        self.finds("removed are told")

    def test_a_leadership_for_who_is_behind(self) -> None:
        engine = self.make()
        self.lead(engine)
        engine.raft.send(peer("n2"), TimeoutNow(1))
        self.finds("whole log handed over")

    def test_entries_too_far_ahead(self) -> None:
        engine = self.make(ahead=1)
        self.lead(engine)
        engine.replication.probing.clear()
        engine.raft.send(peer("n2"), self.append(1, entry(3, 1)))
        self.finds("bounded")

    def test_too_many_open_entries(self) -> None:
        engine = self.make(backlog=1)
        self.lead(engine)
        for index in range(4, 8):
            engine.raft.log.add(*entry(index, 1))
        engine._check_appended((1, None, 2, 2, LEADER, 3))
        self.finds("bounded")


class _Watched:
    replica = None
    transport = None

    def __init__(self, name: str, files: FakeFiles) -> None:
        self.name = name
        self.files = files
        self.time = Time(World(0))


class CatalogueTests(SynchronousTestCase):
    def test_each_invariant_has_its_test(self) -> None:
        with open(__file__, encoding="utf-8") as file:
            source = file.read()
        for name in INVARIANTS:
            self.assertIn(f'self.finds("{name}")', source)
