"""
L{alacrity.cluster.raft.beginning}: nodes with an empty log, and elections.
"""

from __future__ import annotations

from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.messages import (
    AppendEntries,
    PreVote,
    PreVoteReply,
    RequestVote,
    ResponseVote,
)
from tests.cluster.raft.engines import PEERS, A, B, C, EngineCase


class BeginningTests(EngineCase):
    """
    A node that begins a cluster of three, or has lost its files.
    """

    def begin(self) -> Engine:
        """An engine that is connected with nobody."""
        engine = self.make(A, B, C)
        for name in "bc":
            engine.disconnected(PEERS[name])
        return engine

    def assert_silent(self, engine: Engine) -> None:
        """It neither votes nor stands."""
        self.assertEqual(self.give("b", RequestVote(engine.term + 1, 9, 9)), [])
        (answer,) = self.give("b", PreVote(engine.term + 1, 9, 9))
        assert isinstance(answer, PreVoteReply)
        self.assertFalse(answer.granted)
        self.sent.messages.clear()
        self.world.now += 1.0
        engine.tick()
        self.assertEqual(self.sent.messages, [])

    def assert_counts(self, engine: Engine) -> None:
        """It stands, and votes."""
        self.assertEqual(engine.awaited, ())
        self.sent.messages.clear()
        self.world.now += 1.0
        engine.tick()
        self.assertEqual({type(each) for _, each in self.sent.messages}, {PreVote})
        term = engine.term + 1
        self.assertEqual(self.give("b", RequestVote(term, 9, 9)), [ResponseVote(term)])

    def test_all_are_heard(self) -> None:
        """
        It waits until it is connected with all others at the same time. That counts from then on.
        """
        engine = self.begin()
        self.assertEqual(engine.awaited, ("b", "c"))
        self.assert_silent(engine)
        engine.connected(PEERS["b"])
        self.assertEqual(engine.awaited, ("c",))
        self.assert_silent(engine)
        engine.disconnected(PEERS["b"])
        engine.connected(PEERS["c"])
        self.assertEqual(engine.awaited, ("b",))
        self.assert_silent(engine)
        engine.connected(PEERS["b"])
        self.assertEqual(engine.awaited, ())
        engine.disconnected(PEERS["b"])
        engine.disconnected(PEERS["c"])
        self.assert_counts(engine)

    def test_one_has_entries(self) -> None:
        """
        Where another member has a log, there is a cluster already: it waits for that log.
        """
        engine = self.begin()
        engine.connected(PEERS["b"], has_entries=True)
        engine.connected(PEERS["c"])
        self.assertEqual(engine.awaited, ("b",))
        self.assert_silent(engine)
        self.give("b", AppendEntries(3, 2, 2, 0, self.entries(3), 7))
        self.assert_counts(engine)

    def test_a_log(self) -> None:
        """
        A node with a log has begun, whomever it hears.
        """
        self.make(A, B, C)
        self.storage.add(b"\1", 3, 1)
        engine = self.run_on(self.storage, A)
        for name in "bc":
            engine.disconnected(PEERS[name])
        self.assert_counts(engine)

    def test_alone(self) -> None:
        """
        A node alone has nobody to hear.
        """
        engine = self.make(A)
        engine.tick()
        engine.tick()
        self.assertEqual((engine.awaited, engine.role), ((), LEADER))

    def test_waits_to_be_added(self) -> None:
        """
        A node that is to be added awaits nobody, and does not count.
        """
        engine = self.make()
        self.assert_silent(engine)
        self.assertIsInstance(self.storage, Storage)
