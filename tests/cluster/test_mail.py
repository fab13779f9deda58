"""
Mail: the way in, the way out, and the heartbeats that need not wait for the disk.
"""

from __future__ import annotations

from pysyncobj.node import Node
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.heartbeats import Heartbeats
from alacrity.cluster.inbox import Inbox
from alacrity.cluster.notes import Notes, NoteUnanswered
from alacrity.cluster.outbox import Outbox
from alacrity.cluster.raft.environment import RaftTiming
from alacrity.cluster.raft.mail import (
    AddPeer,
    Connected,
    Connections,
    Disconnected,
    DropPeer,
    Received,
    Send,
)
from alacrity.cluster.raft.messages import AppendEntries, ResponseVote, plain
from tests.cluster.raft.engines import PEERS, Sent

B, C = PEERS["b"], PEERS["c"]
VOTE = ResponseVote(1)


class InboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.woken = 0
        self.connections = Connections()
        self.transport = Sent()
        self.clock = Clock()
        notes = Notes("a", lambda name, message: True, lambda name: 1, lambda: 2, self.clock)
        self.notes = notes
        self.told: list[object] = []
        notes.answer("hint", lambda name, body: self.told.append((name, body)))
        self.inbox = Inbox(self.transport, self.connections, notes, self.wake)

    def wake(self) -> None:
        self.woken += 1

    def test_what_comes_is_taken_in_its_order(self) -> None:
        self.assertFalse(self.inbox)
        self.transport._onNodeConnected(B)
        self.transport._onMessageReceived(B, plain(VOTE))
        self.transport._onNodeDisconnected(B)
        self.assertTrue(self.inbox)
        self.assertEqual(self.woken, 3)
        self.assertEqual(self.inbox.take(2), [Connected(B), Received(B, plain(VOTE))])
        self.assertEqual(self.inbox.take(9), [Disconnected(B)])
        self.assertEqual(self.inbox.take(9), [])

    def test_notes_are_not_for_the_engine(self) -> None:
        self.transport._onMessageReceived(B, {"type": "note", "kind": "hint", "body": 7})
        self.assertEqual(self.told, [("b", 7)])
        self.assertFalse(self.inbox)
        self.assertEqual(self.woken, 0)
        for change in (self.transport._onNodeConnected, self.transport._onNodeDisconnected):
            answer = self.notes.ask("b", "count", None, timeout=1.0)
            change(B)
            self.failureResultOf(answer, NoteUnanswered)

    def test_changes_of_connections_are_counted(self) -> None:
        self.transport._onNodeConnected(B)
        self.transport._onNodeDisconnected(B)
        self.assertEqual((self.connections.current("b"), self.connections.heard("b")), (2, 0))

    def test_a_node_that_nobody_has_told_of(self) -> None:
        self.transport._onMessageReceived(Node("x"), plain(VOTE))
        ((received),) = self.inbox.take(1)
        assert isinstance(received, Received)
        self.assertEqual((received.peer.id, received.peer.member.address), ("x", ""))


class OutboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connections = Connections()
        self.transport = Sent()
        self.outbox = Outbox(self.transport, self.connections)

    def test_in_the_order_in_which_it_was_made(self) -> None:
        self.outbox.release([AddPeer(B), AddPeer(C), Send(B, plain(VOTE), 0), DropPeer(B)])
        self.assertEqual(self.transport.messages, [("b", VOTE)])
        self.assertEqual(self.transport.nodes, ["c"])

    def test_not_on_a_later_connection(self) -> None:
        self.connections.note_change("b")
        self.outbox.release([Send(B, plain(VOTE), 0), Send(C, plain(VOTE), 0)])
        self.outbox.send_at_once(B, VOTE)
        self.assertEqual(self.transport.messages, [("c", VOTE)])
        self.connections.note_heard("b")
        self.outbox.send_at_once(B, VOTE)
        self.assertEqual(self.transport.messages, [("c", VOTE), ("b", VOTE)])


class HeartbeatsTests(SynchronousTestCase):
    BEAT = AppendEntries(1, 2, 2, 0, [], 1)

    def setUp(self) -> None:
        self.transport = Sent()
        outbox = Outbox(self.transport, Connections())
        self.heartbeats = Heartbeats(outbox, RaftTiming(heartbeat=0.1, fallback=1.5))
        self.heartbeats.allow([(B, self.BEAT)])

    def sent_at(self, now: float) -> int:
        self.transport.messages.clear()
        self.heartbeats.send_due(now)
        return len(self.transport.messages)

    def test_while_a_step_is_written(self) -> None:
        self.assertEqual(self.sent_at(9.0), 0)
        self.heartbeats.begin(10.0)
        self.assertEqual([self.sent_at(at) for at in (10.05, 10.15, 10.2, 10.3)], [0, 1, 0, 1])
        # A disk that hangs is no leader's.
        self.assertEqual(self.sent_at(11.6), 0)
        self.heartbeats.end()
        self.assertEqual(self.sent_at(10.9), 0)

    def test_of_the_last_step_alone(self) -> None:
        self.heartbeats.allow([])
        self.heartbeats.begin(10.0)
        self.assertEqual(self.sent_at(10.5), 0)
