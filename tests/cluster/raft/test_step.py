"""
Steps of the engine, and their effects as a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.effects import (
    CommandApplied,
    CommandDenied,
    MembersChanged,
    StateRestored,
    StepEffects,
)
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import RaftLimits
from alacrity.cluster.raft.mail import (
    AddPeer,
    Connected,
    Connections,
    Disconnected,
    DropPeer,
    LogCompacted,
    Mail,
    Received,
    Send,
)
from alacrity.cluster.raft.membership import bootstrap
from alacrity.cluster.raft.messages import AppendEntries, RequestVote, ResponseVote, plain
from alacrity.cluster.raft.step import Recorder, Stepper
from alacrity.cluster.replica_settings import ReplicaSettings
from tests.cluster.raft.engines import PEERS, A, B, C, Notes
from tests.simulation.clock import patched, use
from tests.simulation.world import World
from tests.support.fake_files import FakeFiles


class EffectsTests(SynchronousTestCase):
    def test_without_messages(self) -> None:
        """
        The peers to connect to are kept.
        """
        kept = (AddPeer(PEERS["b"]), DropPeer(PEERS["c"]))
        effects = StepEffects(True, (kept[0], Send(PEERS["b"], {}, 0), kept[1]), (StateRestored(),))
        self.assertEqual(effects.without_messages(), StepEffects(True, kept, (StateRestored(),)))


class RecorderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connections = Connections()
        self.recorder = Recorder(self.connections)

    def test_all_is_taken_once_and_in_its_order(self) -> None:
        b = PEERS["b"]
        snapshot = Snapshot(b"", 3, 1, ())
        self.recorder.addNode(b)
        self.recorder.send(b, {"type": "x"})
        self.connections.note_heard("b")
        self.recorder.send(b, {"type": "y"})
        self.recorder.dropNode(b)
        self.recorder.command_applied("result")
        self.recorder.command_denied("id", "it is full", final=False)
        self.recorder.state_restored()
        self.recorder.members_changed("id")
        self.recorder.snapshot_taken(snapshot)
        self.recorder.snapshot_taken(Snapshot(b"", 9, 1, ()))
        self.assertEqual(
            self.recorder.take(persist=True, heartbeats=[]),
            StepEffects(
                True,
                (AddPeer(b), Send(b, {"type": "x"}, 0), Send(b, {"type": "y"}, 1), DropPeer(b)),
                (
                    CommandApplied("result"),
                    CommandDenied("id", "it is full", False),
                    StateRestored(),
                    MembersChanged("id"),
                ),
                snapshot=snapshot,
            ),
        )
        self.assertEqual(self.recorder.take(persist=False, heartbeats=[]), StepEffects(False))


class StepperTests(SynchronousTestCase):
    """
    A member of three, or one that is alone.
    """

    def setUp(self) -> None:
        patching = patched()
        patching.__enter__()
        self.addCleanup(patching.__exit__, None, None, None)
        use(World(1))
        self.connections = Connections()
        self.notes = Notes()

    def make(self, *members: object, log: int = 5000) -> Stepper:
        self.storage = Storage.open(FakeFiles())
        bootstrap(self.storage, (A, B, C) if not members else (A,), msgspec.msgpack.encode([]))
        self.storage.sync()
        settings = ReplicaSettings(limits=RaftLimits(log=log))
        return Stepper(Engine, A, self.storage, self.notes, self.connections, Random(1), settings)

    def step(
        self, stepper: Stepper, *mail: Mail, proposals: Iterable[tuple[str, bytes]] = ()
    ) -> StepEffects:
        return stepper.step(mail, lambda: proposals)

    def test_the_first_effects_are_the_peers(self) -> None:
        effects = self.make().take_effects()
        self.assertEqual(effects.traffic, (AddPeer(PEERS["b"]), AddPeer(PEERS["c"])))
        self.assertFalse(effects.persist)

    def test_a_vote_is_to_be_persisted(self) -> None:
        stepper = self.make()
        stepper.take_effects()
        b = PEERS["b"]
        effects = self.step(
            stepper,
            Connected(b),
            Connected(PEERS["c"]),
            Received(b, plain(RequestVote(1, 2, 0))),
        )
        self.assertTrue(effects.persist)
        self.assertEqual(effects.traffic, (Send(b, plain(ResponseVote(1)), 1),))
        self.assertEqual(self.connections.heard("b"), 1)
        self.step(stepper, Disconnected(b))
        self.assertEqual(self.connections.heard("b"), 2)

    def test_a_node_that_is_alone_commits_within_a_step(self) -> None:
        stepper = self.make("alone")
        self.step(stepper)
        effects = self.step(stepper, proposals=[("x", REGULAR + b"one")])
        self.assertEqual(self.notes.applied, [b"one"])
        self.assertEqual(effects.results, (CommandApplied(None),))

    def test_a_leader_s_heartbeats(self) -> None:
        stepper = self.make()
        self.assertEqual(stepper.take_effects().heartbeats, ())

    def test_the_route_to_the_leader(self) -> None:
        stepper = self.make()
        self.assertIsNone(stepper.route)
        b = PEERS["b"]
        self.step(stepper, Connected(b), Received(b, plain(AppendEntries(4, 2, 2, 0, [], 1))))
        self.assertEqual(stepper.route, ("b", 4, 1))

    def test_a_long_log_is_to_be_compacted(self) -> None:
        stepper = self.make("alone", log=4)
        self.step(stepper)
        proposals = [(str(number), REGULAR + b"%d" % number) for number in range(8)]
        snapshot = self.step(stepper, proposals=proposals).snapshot
        assert snapshot is not None
        rewrite = self.storage.prepare(snapshot)
        rewrite.write()
        self.assertTrue(self.step(stepper, LogCompacted(rewrite)).persist)
        self.assertEqual(self.storage.snapshot, snapshot)

    def test_a_hand_over_that_is_asked_for_meanwhile(self) -> None:
        """
        It leaves with the step that is being persisted.
        """
        stepper = self.make()
        b = PEERS["b"]
        append = plain(AppendEntries(4, 2, 2, 0, [], 1))
        effects = self.step(stepper, Connected(b), Received(b, append))
        stepper.engine.hand_over("c")
        completed = stepper.complete(effects)
        asked = Send(b, {"type": "hand_over", "target": "c"}, 1)
        self.assertEqual(completed.traffic, (*effects.traffic, asked))
        self.assertEqual(stepper.complete(effects), effects)
