"""
An engine under test, with a transport and a state machine that write down what they are given.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from pysyncobj.transport import Transport
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.adapter import LEADER
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import CannotApply, Environment, RaftLimits, RaftTiming
from alacrity.cluster.raft.membership import (
    bootstrap,
)
from alacrity.cluster.raft.messages import (
    AppendEntries,
    Message,
    PreVoteReply,
    Reply,
    ResponseVote,
    parse,
    plain,
)
from alacrity.cluster.raft.peer import Peer
from tests.simulation.clock import patched, use
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

    def greeting(self, name: str) -> None:
        """Nobody greets."""

    def fault(self, name: str) -> None:
        """None is known."""

    def refused(self) -> dict[str, str]:
        """Nobody is refused."""
        return {}

    def greet_again(self) -> None:
        """Nobody hears it."""

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


class EngineCase(SynchronousTestCase):
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
        self.faults: dict[str, str] = {}
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
                self.faults.get,
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
