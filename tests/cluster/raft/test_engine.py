"""
The engine's guards, one by one; what the simulation cannot show for sure.
"""

from __future__ import annotations

import re
from inspect import get_annotations, getsource
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from pysyncobj import SyncObj
from pysyncobj.transport import Transport
from twisted.trial.unittest import SynchronousTestCase

import alacrity
from alacrity.cluster.log.entries import MEMBERSHIP, NO_OP, REGULAR
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft import adapter
from alacrity.cluster.raft.adapter import FOLLOWER, LEADER, RaftAdapter
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import CannotApply, Environment, RaftLimits, RaftTiming
from alacrity.cluster.raft.membership import (
    MemberChange,
    Members,
    bootstrap,
    encode_members,
    make_alone,
    members_of,
)
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
    SnapshotReply,
    TimeoutNow,
    parse,
    plain,
)
from alacrity.cluster.raft.peer import Peer
from tests.simulation.clock import patched, use
from tests.simulation.variants import (
    WithoutG1,
    WithoutG2,
    WithoutG3,
    WithoutG4,
    WithoutG5,
    WithoutG7,
)
from tests.simulation.world import World
from tests.support.fake_files import FakeFiles

A, B, C, D = (Member(name, f"{name}:1") for name in "abcd")
PEERS = {each.name: Peer(each) for each in (A, B, C, D)}


class Sent(Transport):  # type: ignore[misc] # it is not annotated
    """
    A transport that delivers nothing.
    """

    ready = True

    def __init__(self) -> None:
        super().__init__(None, None, [])
        self.messages: list[tuple[str, Message]] = []
        self.nodes: list[str] = []

    def addNode(self, node: Peer) -> None:
        self.nodes.append(node.id)

    def dropNode(self, node: Peer) -> None:
        self.nodes.remove(node.id)

    def send(self, node: Peer, message: dict[str, Any]) -> bool:
        self.messages.append((node.id, parse(message)))
        return True


class Notes:
    """
    A state machine, and a place for results, that writes down what it is given.
    """

    version = 1

    def __init__(self) -> None:
        self.applied: list[bytes] = []
        self.changes: list[str] = []
        self.denials: list[tuple[str, bool]] = []
        self.snapshots: list[Snapshot] = []

    def apply(self, command: bytes) -> None:
        if command.startswith(b"newer"):
            raise CannotApply("it is newer")
        self.applied.append(command)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self.applied)

    def restore(self, state: bytes) -> None:
        if state.startswith(b"newer"):
            raise CannotApply("it is newer")
        self.applied = msgspec.msgpack.decode(state, type=list[bytes])

    def readable(self, command: bytes, version: int) -> bool:
        return version >= 2 or not command.startswith(b"v2")

    def command_applied(self, result: object) -> None:
        """It has noted it."""

    def state_restored(self) -> None:
        """It knows."""

    def members_changed(self, request_id: str) -> None:
        self.changes.append(request_id)

    def command_denied(self, request_id: str, reason: str, *, final: bool) -> None:
        self.denials.append((reason, final))

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)


class EngineTests(SynchronousTestCase):
    engine_class: type[Engine] = Engine

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        self.world = World(1)
        use(self.world)

    def make(
        self, *members: Member, me: Member = A, engine: type[Engine] = Engine, limits: Any = None
    ) -> Engine:
        """
        An engine that has just begun, and knows all others to be connected.
        """
        storage = Storage.open(FakeFiles())
        if members:
            bootstrap(storage, members, msgspec.msgpack.encode([]))
        return self.run_on(storage, me, engine, limits)

    def run_on(
        self, storage: Storage, me: Member, engine: type[Engine] = Engine, limits: Any = None
    ) -> Engine:
        self.sent = Sent()
        self.notes = Notes()
        self.storage = storage
        made = engine(
            Environment(
                me,
                storage,
                self.sent,
                self.notes,
                self.notes,
                Random(1),
                RaftTiming(),
                limits or RaftLimits(),
            )
        )
        self.sent.setOnMessageReceivedCallback(made.receive)
        self.sent.setOnNodeConnectedCallback(made.connected)
        self.sent.setOnNodeDisconnectedCallback(made.disconnected)
        for name in self.sent.nodes:
            self.sent._onNodeConnected(PEERS[name])
        return made

    def own(self, member: Member = A) -> Member:
        """
        This node, as the log says once it says more than with whom it began.
        """
        return msgspec.structs.replace(member, incarnation=self.storage.incarnation)

    def give(self, name: str, message: Message) -> list[Message]:
        """
        Have a message come in; what is sent back.
        """
        self.sent.messages.clear()
        self.sent._onMessageReceived(PEERS[name], plain(message))
        return [each for to, each in self.sent.messages if to == name]

    def lead(self, *members: Member, engine: type[Engine] = Engine, limits: Any = None) -> Engine:
        """
        An engine that leads term 1 or later, with nothing confirmed but its own.
        """
        made = self.make(*members, engine=engine, limits=limits)
        self.elect(made)
        return made

    def elect(self, engine: Engine) -> None:
        self.world.now += 1.0
        engine.tick()
        voters = list(engine.matches)
        for name in voters:
            self.give(name, PreVoteReply(engine.term + 1, engine.term, granted=True))
        engine.tick()
        for name in voters:
            self.give(name, ResponseVote(engine.term))
        self.assertEqual(engine.role, LEADER)

    def confirm(self, engine: Engine, *names: str) -> None:
        for name in names:
            self.give(name, Reply(engine.term, engine.last_index + 1, True, 1 << 30))
        engine.tick()

    def entries(self, *terms: int, start: int = 3) -> list[tuple[bytes, int, int]]:
        return [
            (REGULAR + f"{start + at}@{term}".encode(), start + at, term)
            for at, term in enumerate(terms)
        ]

    def append(
        self,
        name: str,
        term: int,
        entries: list[tuple[bytes, int, int]],
        *,
        prev: tuple[int, int] = (2, 0),
        commit: int = 2,
        probe: int = 7,
    ) -> list[Message]:
        return self.give(name, AppendEntries(term, commit, *prev, entries, probe))


PRIVATE = "_SyncObj__"


class NamesTests(SynchronousTestCase):
    """
    PySyncObj is pinned, since names are used that are its private ones.
    """

    def test_what_is_overridden_or_called_is_there(self) -> None:
        spelled = set(re.findall(rf"{PRIVATE}\w+", getsource(adapter)))
        names = spelled - set(get_annotations(RaftAdapter))
        self.assertGreater(len(names), 6)
        for name in [*names, "_onTick", "_checkCommandsToApply"]:
            self.assertTrue(callable(getattr(SyncObj, name, None)), name)

    def test_the_attributes_that_are_used_are_there(self) -> None:
        source = SyncObj.__init__.__code__.co_names
        names = [name for name in get_annotations(RaftAdapter) if name.startswith(PRIVATE)]
        self.assertGreater(len(names), 6)
        for name in names:
            self.assertIn(name, source)

    def test_one_file_spells_them(self) -> None:
        package = Path(alacrity.__file__).parent
        files = [each for each in package.rglob("*.py") if PRIVATE in each.read_text("utf-8")]
        self.assertEqual(files, [Path(adapter.__file__)])


class G1Tests(EngineTests):
    """Commit only what is verified."""

    def commit_with_tail(self, engine: type[Engine]) -> Engine:
        made = self.make(A, B, C, engine=engine)
        self.append("b", 1, self.entries(1, 1, 1))
        # c leads now, and has none of these but the first.
        self.append("c", 2, [], prev=(3, 1), commit=5)
        return made

    def test_a_tail_that_nobody_proved_is_not_committed(self) -> None:
        self.assertEqual(self.commit_with_tail(Engine).commit_index, 3)

    def test_without_the_guard_it_is(self) -> None:
        self.assertEqual(self.commit_with_tail(WithoutG1).commit_index, 5)

    def test_a_slice_of_a_snapshot_commits_nothing(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1))
        replies = self.give("c", InstallSnapshot(2, 9, 2, [A, B, C], 10, 0, b"12345", 4))
        self.assertEqual(replies, [SnapshotReply(2, 9, 5)])
        self.assertEqual(engine.commit_index, 2)

    def test_an_old_snapshot_is_passed_over(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1), commit=5)
        engine.tick()
        replies = self.give("c", InstallSnapshot(2, 4, 1, [A, B, C], 5, 0, b"12345", 4))
        self.assertEqual(replies, [Reply(2, 6, True, 4)])
        self.assertEqual((engine.applied_index, engine.last_index), (5, 5))


class G2Tests(EngineTests):
    """Truncate only on conflict."""

    def repeat(self, engine: type[Engine]) -> Engine:
        made = self.make(A, B, C, engine=engine)
        self.append("b", 1, self.entries(1, 1, 1))
        self.append("b", 1, self.entries(1))
        return made

    def test_a_repeat_keeps_what_was_acknowledged(self) -> None:
        self.assertEqual(self.repeat(Engine).last_index, 5)

    def test_without_the_guard_it_is_forgotten(self) -> None:
        self.assertEqual(self.repeat(WithoutG2).last_index, 3)

    def test_a_conflict_truncates_from_there(self) -> None:
        self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1))
        self.append("c", 2, self.entries(1, 2))
        self.assertEqual([entry[2] for entry in self.storage[0:9]], [0, 1, 2])

    def test_what_is_committed_is_never_truncated(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1), commit=4)
        self.assertEqual(self.append("c", 2, self.entries(2)), [])
        self.assertEqual(engine.halted, "the leader of term 2 contradicts entry 3")
        self.assertEqual(engine.last_index, 4)

    def test_entries_with_a_gap_are_not_taken(self) -> None:
        engine = self.make(A, B, C)
        self.assertEqual(self.append("b", 1, self.entries(1, start=9)), [])
        self.assertEqual(engine.last_index, 2)


class G3Tests(EngineTests):
    """One change of the members at a time."""

    def remove(self, engine: Engine, *names: str) -> None:
        for name in names:
            change = MemberChange(name, None, name)
            engine.submit(name, MEMBERSHIP + msgspec.msgpack.encode(change))
        engine.tick()

    def removed(self, engine: type[Engine]) -> Engine:
        made = self.lead(A, B, C, engine=engine)
        self.confirm(made, "b")
        self.remove(made, "b", "c")
        made.tick()
        return made

    def test_the_second_change_waits(self) -> None:
        engine = self.removed(Engine)
        self.assertEqual(engine.configuration, (self.own(), C))
        self.assertEqual(
            self.notes.denials, [("another change of the members is under way", False)]
        )
        self.assertEqual(engine.commit_index, 3)

    def test_without_the_guard_one_node_agrees_with_itself(self) -> None:
        engine = self.removed(WithoutG3)
        self.assertEqual(engine.configuration, (self.own(),))
        self.assertEqual(engine.commit_index, 5)

    def test_no_change_before_this_term_has_committed(self) -> None:
        engine = self.lead(A, B, C)
        self.remove(engine, "b")
        self.assertEqual(engine.configuration, (A, B, C))
        self.assertEqual(len(self.notes.denials), 1)

    def test_a_truncated_change_is_undone(self) -> None:
        engine = self.make(A, B, C)
        change = MEMBERSHIP + msgspec.msgpack.encode(Members("x", (A, B)))
        self.append("b", 1, [(change, 3, 1)])
        self.assertEqual(engine.configuration, (A, B))
        self.append("c", 2, self.entries(2))
        self.assertEqual(engine.configuration, (A, B, C))
        self.assertEqual(self.sent.nodes, ["b", "c"])

    def test_a_leader_is_followed_whose_removal_is_pending(self) -> None:
        engine = self.make(A, B, C)
        change = MEMBERSHIP + msgspec.msgpack.encode(Members("x", (A, B)))
        self.append("b", 1, [(change, 3, 1)])
        self.assertIn("c", self.sent.nodes)
        replies = self.append("c", 2, [])
        self.assertEqual(replies, [Reply(2, 3, True, 7)])
        self.assertEqual(engine.leader, PEERS["c"])

    def test_a_removed_node_learns_of_it(self) -> None:
        engine = self.lead(A, B, C)
        self.confirm(engine, "b", "c")
        self.remove(engine, "c")
        self.sent.messages.clear()
        self.confirm(engine, "b")
        last = [each for to, each in self.sent.messages if to == "c"][-1]
        assert isinstance(last, AppendEntries)
        self.assertEqual(last.commit_index, engine.last_index)
        self.assertEqual(self.sent.nodes, ["b"])
        self.assertEqual(engine.settled_configuration, (self.own(), B))
        self.assertEqual(self.notes.changes, ["c"])

    def test_a_new_member_catches_up_before_it_counts(self) -> None:
        engine = self.lead(A, B, C)
        self.confirm(engine, "b", "c")
        self.storage.remember_peer("c", "cc" * 16)
        self.storage.remember_peer("d", "dd" * 16)
        met = msgspec.structs.replace(C, incarnation="cc" * 16)
        command = MEMBERSHIP + msgspec.msgpack.encode(MemberChange("x", D, None))
        engine.submit("x", command)
        engine.tick()
        self.assertEqual(self.notes.denials, [("d has not caught up yet", False)])
        self.assertEqual(engine.configuration, (A, B, C))
        self.sent._onNodeConnected(PEERS["d"])
        self.confirm(engine, "d")
        engine.submit("x", command)
        engine.tick()
        self.assertEqual([each.name for each in engine.configuration], ["a", "b", "c", "d"])
        added = msgspec.structs.replace(D, joined=engine.last_index, term=1, incarnation="dd" * 16)
        self.assertEqual(engine.configuration, (self.own(), B, met, added))
        self.assertEqual(self.sent.nodes.count("d"), 1)
        self.assertIn("d", [peer.id for peer in engine.raft.connected])

    def test_another_member_of_the_same_name_is_met_anew(self) -> None:
        """
        Whoever is connected when its entry comes may be the one that was removed.
        """
        engine = self.make(A, B, C)
        self.storage.remember_peer("b", "bb" * 16)
        self.storage.remember_peer("c", "00" * 16)
        again = msgspec.structs.replace(C, joined=4, incarnation="cc" * 16)
        entries = [
            (encode_members(Members("x", (A, B))), 3, 1),
            (encode_members(Members("y", (A, B, again))), 4, 1),
        ]
        self.append("b", 1, entries)
        # The transport is asked to see whether it is the one that is meant.
        self.assertEqual(self.sent.nodes, ["b", "c", "c"])
        self.assertEqual(self.storage.peers, {"b": "bb" * 16})
        self.assertIn(again, [peer.member for peer in engine.peers])

    def test_a_new_member_that_is_lost_begins_anew(self) -> None:
        """
        What it has confirmed may be on its disk no more.
        """
        engine = self.lead(A, B, C)
        self.confirm(engine, "b", "c")
        add = MEMBERSHIP + msgspec.msgpack.encode(MemberChange("id", D, None))
        engine.submit("id", add)
        engine.tick()
        self.sent._onNodeConnected(PEERS["d"])
        self.confirm(engine, "d")
        self.sent._onNodeDisconnected(PEERS["d"])
        self.assertNotIn("d", self.sent.nodes)
        engine.submit("id", add)
        engine.tick()
        self.assertIn("d", self.sent.nodes)
        self.assertEqual(self.notes.denials, [("d has not caught up yet", False)] * 2)
        self.assertEqual(engine.configuration, (A, B, C))
        self.sent._onNodeConnected(PEERS["d"])
        self.confirm(engine, "d")
        engine.submit("id", add)
        engine.tick()
        self.assertEqual([each.name for each in engine.configuration], ["a", "b", "c", "d"])

    def test_a_name_or_an_address_is_given_once(self) -> None:
        engine = self.lead(A, B, C)
        self.confirm(engine, "b", "c")
        for wrong in (Member("b", "x:9"), Member("x", "b:1")):
            change = MemberChange("x", wrong, None)
            engine.submit("x", MEMBERSHIP + msgspec.msgpack.encode(change))
        engine.tick()
        self.assertEqual(self.notes.denials, [("b at b:1 is a member already", True)] * 2)

    def test_the_leader_hands_over_before_it_is_removed(self) -> None:
        engine = self.lead(A, B, C)
        self.confirm(engine, "b", "c")
        self.sent.messages.clear()
        self.remove(engine, "a")
        self.assertIn(("b", TimeoutNow(engine.term)), self.sent.messages)
        self.assertEqual(engine.configuration, (A, B, C))

    def test_it_hands_over_once_the_other_has_the_whole_log(self) -> None:
        engine = self.lead(A, B, C)
        engine.submit("x", REGULAR + b"x")
        engine.tick()
        self.sent.messages.clear()
        engine.hand_over("b")
        self.assertNotIn(("b", TimeoutNow(engine.term)), self.sent.messages)
        self.confirm(engine, "b", "c")
        engine.tick()
        self.assertIn(("b", TimeoutNow(engine.term)), self.sent.messages)
        self.sent.messages.clear()
        engine.tick()
        self.assertNotIn(("b", TimeoutNow(engine.term)), self.sent.messages)

    def test_a_node_that_is_no_member_does_not_stand(self) -> None:
        engine = self.make(A, B, C)
        change = MEMBERSHIP + msgspec.msgpack.encode(Members("x", (B, C)))
        self.append("b", 1, [(change, 3, 1)])
        self.sent.messages.clear()
        self.world.now += 9
        engine.tick()
        engine.tick()
        self.assertEqual((self.sent.messages, engine.role), ([], FOLLOWER))


class G4Tests(EngineTests):
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


class G5Tests(EngineTests):
    """Common ground is found in one step."""

    def test_what_is_committed_is_common(self) -> None:
        self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1, 1), commit=3)
        for prev in ((9, 2), (5, 2)):
            replies = self.append("c", 2, [], prev=prev)
            self.assertEqual(replies, [Reply(2, 4, False, 7)])

    def test_without_the_guard_the_last_of_many_answers_leads_away(self) -> None:
        """
        Entry 5 contradicts, and entry 9 is far ahead: the leader is told to go back to
        5, and then on to 6, from where it learns to go back to 5.
        """
        self.make(A, B, C, engine=WithoutG5)
        self.append("b", 1, self.entries(1, 1, 1), commit=3)
        answers = [self.append("c", 2, [], prev=(index, 2))[0] for index in (5, 9)]
        self.assertEqual(answers, [Reply(2, 5, False, 7), Reply(2, 6, False, 7)])

    def test_the_leader_looks_one_message_at_a_time(self) -> None:
        engine = self.lead(A, B, C, limits=RaftLimits(batch=10))
        for number in range(20):
            engine.submit("x", REGULAR + b"%08d" % number)
        engine.tick()
        self.sent.messages.clear()
        self.world.now += 0.2
        engine.tick()
        probes = [each for to, each in self.sent.messages if to == "b"]
        self.assertEqual(len(probes), 1)
        assert isinstance(probes[0], AppendEntries)
        answers = self.give("b", Reply(1, 3, False, probes[0].probe))
        self.assertEqual(len(answers), 1)
        assert isinstance(answers[0], AppendEntries)
        self.assertEqual(answers[0].prev_index, 2)
        # What was answered to the attempt before says nothing new.
        self.assertEqual(self.give("b", Reply(1, 3, False, probes[0].probe)), [])
        last = answers[0].entries[-1][1]
        streamed = self.give("b", Reply(1, last + 1, True, answers[0].probe))
        self.assertGreater(len(streamed), 5)

    def test_a_contradiction_in_what_is_committed_halts(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(1, 1), commit=4)
        self.append("c", 2, [], prev=(4, 2))
        self.assertEqual(
            engine.halted, "entry 4 is committed here, and c, who leads term 2, has another"
        )


class G6Tests(EngineTests):
    """Snapshot and log change as one. (Files: see the tests of the storage.)"""

    def install(self, *terms: int, index: int, term: int) -> Engine:
        engine = self.make(A, B, C)
        self.append("b", 1, self.entries(*terms))
        state = msgspec.msgpack.encode([b"s"])
        half = len(state) // 2
        first = InstallSnapshot(3, index, term, [A, B, C, D], len(state), 0, state[:half], 4)
        rest = msgspec.structs.replace(first, offset=half, data=state[half:])
        self.assertEqual(self.give("c", first), [SnapshotReply(3, index, half)])
        # A repeat, or one that is not its turn, adds nothing.
        self.assertEqual(self.give("c", first), [SnapshotReply(3, index, half)])
        self.assertEqual(self.give("c", rest), [Reply(3, index + 1, True, 4)])
        self.assertEqual(self.notes.applied, [b"s"])
        self.assertEqual((engine.applied_index, engine.commit_index), (index, index))
        self.assertEqual(engine.configuration, (A, B, C, D))
        return engine

    def test_what_may_be_acknowledged_beyond_stays(self) -> None:
        engine = self.install(1, 1, 1, index=4, term=1)
        self.assertEqual((self.storage[0][1], engine.last_index), (4, 5))

    def test_what_contradicts_goes(self) -> None:
        engine = self.install(1, 1, 1, index=4, term=2)
        self.assertEqual(self.storage[0:9], [(NO_OP, 4, 2)])
        self.assertEqual(engine.last_index, 4)

    def test_all_is_there_after_a_restart(self) -> None:
        self.install(1, index=9, term=2)
        self.storage.sync()
        files = self.storage._files
        assert isinstance(files, FakeFiles)
        engine = self.run_on(Storage.open(files.crash()), A)
        self.assertEqual((engine.applied_index, engine.term), (9, 3))
        self.assertEqual(self.notes.applied, [b"s"])
        self.assertEqual(engine.configuration, (A, B, C, D))

    def test_a_snapshot_has_the_members_as_they_were_applied(self) -> None:
        engine = self.lead(A, B, C, limits=RaftLimits(log=4))
        for number in range(5):
            engine.submit("x", REGULAR + b"%d" % number)
        engine.tick()
        self.confirm(engine, "b")
        change = MemberChange("x", None, "c")
        engine.submit("x", MEMBERSHIP + msgspec.msgpack.encode(change))
        engine.tick()
        self.assertEqual(engine.configuration, (self.own(), B))
        self.assertEqual([each.members for each in self.notes.snapshots], [(A, B, C)])


class G7Tests(EngineTests):
    """What is applied, is applied once, or halts the node."""

    def newer(self, engine: type[Engine]) -> Engine:
        made = self.make(A, B, C, engine=engine)
        entries = self.entries(1, 1)
        entries.insert(1, (REGULAR + b"newer", 4, 1))
        entries[2] = (entries[2][0], 5, 1)
        self.append("b", 1, entries, commit=5)
        made.tick()
        made.tick()
        return made

    def test_what_is_not_understood_halts(self) -> None:
        engine = self.newer(Engine)
        self.assertEqual(engine.halted, "entry 4 is committed, and not understood: it is newer")
        self.assertEqual(self.notes.applied, [b"3@1"])
        self.assertEqual(self.append("b", 2, []), [])

    def test_without_the_guard_the_node_diverges(self) -> None:
        self.newer(WithoutG7)
        self.assertEqual(self.notes.applied, [b"3@1", b"4@1"])

    def test_a_newer_snapshot_halts(self) -> None:
        engine = self.make(A, B, C)
        replies = self.give("b", InstallSnapshot(1, 9, 1, [A, B, C], 5, 0, b"newer", 4))
        self.assertEqual(replies, [])
        self.assertEqual(engine.halted, "the leader's snapshot: it is newer")
        self.assertEqual(engine.applied_index, 2)

    def test_an_entry_of_an_unknown_kind_halts(self) -> None:
        engine = self.make(A, B, C)
        self.append("b", 1, [(b"\x09", 3, 1)], commit=3)
        engine.tick()
        assert engine.halted is not None
        self.assertIn("not understood", engine.halted)

    def test_commands_that_not_all_understand_are_not_appended(self) -> None:
        engine = self.lead(A, B)
        self.notes.version = 2
        before = engine.last_index
        engine.submit("x", REGULAR + b"v2")
        engine.tick()
        unheard = ("not all members have said yet whether they understand it", False)
        self.assertEqual(self.notes.denials, [unheard])
        self.give("b", Reply(1, before + 1, True, 1 << 30))
        engine.submit("x", REGULAR + b"v2")
        engine.tick()
        self.assertEqual(self.notes.denials, [unheard, ("not all members understand it", True)])
        self.assertEqual(engine.last_index, before)
        self.give("b", Reply(1, before + 1, True, 1 << 30, version=2))
        engine.submit("x", REGULAR + b"v2")
        engine.tick()
        self.assertEqual(engine.last_index, before + 1)

    def test_what_a_member_understood_before_is_asked_again(self) -> None:
        """
        Who connects anew, or has a new leader, may be another program by now.
        """
        engine = self.lead(A, B)
        self.notes.version = 2

        def appended() -> bool:
            before = engine.last_index
            engine.submit("x", REGULAR + b"v2")
            engine.tick()
            return engine.last_index > before

        def said() -> None:
            reply = Reply(engine.term, engine.last_index + 1, True, 1 << 30, version=2)
            self.give("b", reply)

        said()
        self.assertTrue(appended())
        self.sent._onNodeConnected(PEERS["b"])
        self.assertFalse(appended())
        said()
        self.assertTrue(appended())
        self.give("b", AppendEntries(engine.term + 1, 2, 2, 0, [], 1))
        self.elect(engine)
        self.assertFalse(appended())
        said()
        self.assertTrue(appended())

    def test_what_is_no_message_is_passed_over(self) -> None:
        engine = self.make(A, B, C)
        for wrong in ({}, {"type": "x"}, {"type": "append_entries", "term": "1"}, [1]):
            self.sent._onMessageReceived(PEERS["b"], wrong)
        self.assertEqual((engine.term, engine.halted), (0, None))


class G8Tests(EngineTests):
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


class ElectionTests(EngineTests):
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
            self.sent.messages, [("c", Denial("x", "this node does not lead", final=False))]
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


class BoundedTests(EngineTests):
    """
    How much one tick does, and how much a log holds.
    """

    def test_a_step_applies_so_many_bytes(self) -> None:
        """
        At least one entry, and then as many as fit: what else is due is not held up.
        """
        engine = self.make(A, limits=RaftLimits(applied_bytes=100))
        engine.tick()
        for number, size in enumerate((90, 9, 90, 500, 10, 10, 10)):
            engine.submit(str(number), b"\0" + size * b"x")
        applied = []
        for _ in range(6):
            engine.begin_step()
            for _ in range(3):
                engine.tick()
            applied.append(len(self.notes.applied))
        self.assertEqual(applied, [1, 2, 3, 4, 7, 7])

    def fill(self, engine: Engine, count: int, size: int) -> None:
        for number in range(count):
            engine.submit(str(number), b"\0" + size * b"x")
            for _ in range(3):
                engine.tick()

    def adopt(self) -> None:
        """
        Put the latest snapshot in the place of the entries before.
        """
        rewrite = self.storage.prepare(self.notes.snapshots[-1])
        rewrite.write()
        self.assertTrue(self.storage.adopt(rewrite))

    def test_a_log_of_long_entries_is_compacted(self) -> None:
        engine = self.make(A, limits=RaftLimits(log_bytes=10_000))
        self.fill(engine, 10, 900)
        self.assertEqual(self.notes.snapshots, [])
        self.fill(engine, 2, 900)
        self.assertEqual(len(self.notes.snapshots), 1)
        # Not again and again, while the file is written or cannot be.
        self.fill(engine, 3, 900)
        self.assertEqual(len(self.notes.snapshots), 1)
        self.fill(engine, 10, 900)
        self.assertEqual(len(self.notes.snapshots), 3)
        self.adopt()
        self.assertLess(self.storage.size, 3000)
        self.fill(engine, 5, 900)
        self.assertEqual(len(self.notes.snapshots), 3)
        # The state is so large by now that the log may be half as large.
        self.assertGreater(len(self.notes.encode()), 20_000)
        self.fill(engine, 8, 900)
        self.assertEqual(len(self.notes.snapshots), 4)

    def test_the_size_of_a_log(self) -> None:
        """
        It is told after all that happens to it.
        """
        engine = self.make(A, limits=RaftLimits(log=20))
        self.fill(engine, 30, 50)
        self.adopt()
        self.storage.deleteEntriesFrom(len(self.storage) - 3)
        entries = self.storage[:]
        self.assertEqual(self.storage.size, sum(len(command) for command, _, _ in entries))
        again = Storage.open(self.storage._files.crash())  # type: ignore[attr-defined]
        self.assertEqual(again.size, sum(len(command) for command, _, _ in again[:]))


class ExcuseTests(EngineTests):
    """
    A process that did not run for a while.
    """

    def test_a_leader_hears_what_was_said_meanwhile(self) -> None:
        for stalled, leads in ((1.0, True), (2.0, True), (2.9, True), (5.0, False)):
            with self.subTest(stalled):
                engine = self.lead(A, B, C)
                self.world.now += stalled
                engine.excuse(stalled)
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
                engine.excuse(stalled)
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
        engine.excuse(1.0)
        self.world.now += 1.4
        engine.tick()
        self.assertEqual(engine.role, LEADER)
        self.world.now += 0.2
        engine.tick()
        self.assertNotEqual(engine.role, LEADER)
