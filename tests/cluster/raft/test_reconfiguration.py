"""
Changes of the members.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.log.entries import MEMBERSHIP, REGULAR
from alacrity.cluster.log.members import Member
from alacrity.cluster.raft.adapter import FOLLOWER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.membership import (
    MemberChange,
    Members,
    encode_members,
)
from alacrity.cluster.raft.messages import (
    AppendEntries,
    Reply,
    TimeoutNow,
)
from tests.cluster.raft.engines import PEERS, A, B, C, D, EngineCase
from tests.simulation.variants import (
    WithoutG3,
)


class G3Tests(EngineCase):
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
        self.assertEqual(self.notes.denials, [("another membership change is pending", False)])
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

    def test_another_address(self) -> None:
        """
        A member whose address changes keeps its seat and its incarnation, and the transport is
        told. It is a change of the members as others are: one at a time.
        """
        engine = self.lead(A, B, C)
        self.confirm(engine, "b", "c")
        added = msgspec.structs.replace(C, joined=2, term=1, incarnation="c" * 32)
        # As if it had been added before.
        self.storage.add(encode_members(Members("x", (A, B, added))), engine.last_index + 1, 1)
        engine.reconfiguration.configure()
        self.confirm(engine, "b", "c")
        moved = Member("c", "elsewhere:1")
        before = self.sent.nodes.count("c")

        def move(id: str, to: Member) -> None:
            change = MemberChange(id, to, to.name)
            engine.submit(id, MEMBERSHIP + msgspec.msgpack.encode(change))
            engine.tick()

        move("y", moved)
        self.assertEqual(self.notes.denials, [])
        (now,) = (each for each in engine.configuration if each.name == "c")
        self.assertEqual(now, msgspec.structs.replace(added, address="elsewhere:1"))
        self.assertEqual(self.sent.nodes.count("c"), before + 1)
        move("z", Member("b", "too:1"))
        self.assertEqual(self.notes.denials, [("another membership change is pending", False)])
        self.confirm(engine, "b", "c")
        move("z", Member("b", "elsewhere:1"))
        move("z", Member("d", "d:1"))
        self.assertEqual(
            self.notes.denials[1:],
            [("elsewhere:1 is the address of c", True), ("there is no member d", True)],
        )

    def test_a_new_member_that_cannot_be_reached(self) -> None:
        """
        The reason is told, and after a while the node is given up. A fault of an earlier
        connection is none while there is a connection.
        """
        engine = self.lead(A, B, C)
        self.confirm(engine, "b", "c")
        add = MEMBERSHIP + msgspec.msgpack.encode(MemberChange("id", D, None))
        reason = "d=d:1 is not added: it refuses: 'no'"

        def denial() -> tuple[str, bool]:
            engine.submit("id", add)
            engine.tick()
            return self.notes.denials[-1]

        self.assertEqual(denial(), ("d has not caught up yet", False))
        self.faults["d"] = "it refuses: 'no'"
        self.assertEqual(denial(), (reason, False))
        self.world.now += 2.9
        self.confirm(engine, "b", "c")
        self.assertEqual(denial(), (reason, False))
        self.sent._onNodeConnected(PEERS["d"])
        self.assertEqual(denial(), ("d has not caught up yet", False))
        self.sent._onNodeDisconnected(PEERS["d"])
        self.assertEqual(denial(), (reason, False))
        self.world.now += 3.1
        self.confirm(engine, "b", "c")
        self.assertEqual(denial(), (reason, True))
        self.assertNotIn("d", self.sent.nodes)

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
        Entries that it has confirmed may no longer be on its disk.
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
