"""
Steps of the engine: mail and proposals in, effects out, as values.

The order of the effects is essential. The changes of a step are persisted first; then its
messages leave the node, and the commands that it has applied become visible. So nobody ever
sees a change that a crash could undo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Protocol

import msgspec
from pysyncobj.transport import Transport

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.effects import (
    CommandApplied,
    CommandDenied,
    MembersChanged,
    StateRestored,
    StepEffects,
    StepResult,
)
from alacrity.cluster.raft.engine import Engine
from alacrity.cluster.raft.environment import (
    Environment,
    LinkFault,
    RaftLimits,
    RaftTiming,
    StateMachine,
    no_fault,
)
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
    Traffic,
)
from alacrity.cluster.raft.messages import AppendEntries
from alacrity.cluster.raft.peer import Peer


class Recorder(Transport):  # type: ignore[misc] # it is not annotated
    """
    The transport and the results of the engine: records what the engine does, until it is
    taken.

    @ivar traffic: the messages and the changes of the peers that are not taken yet.
    """

    def __init__(self, connections: Connections) -> None:
        super().__init__(None, None, [])
        self.traffic: list[Traffic] = []
        self._connections = connections
        self._results: list[StepResult] = []
        self._snapshot: Snapshot | None = None

    # PySyncObj's transport

    @property
    def ready(self) -> bool:
        """Always true: the real transport is started and stopped elsewhere."""
        return True

    def addNode(self, node: Peer) -> None:
        """Record an L{AddPeer}."""
        self.traffic.append(AddPeer(node))

    def dropNode(self, node: Peer) -> None:
        """Record a L{DropPeer}."""
        self.traffic.append(DropPeer(node))

    def send(self, node: Peer, message: dict[str, Any]) -> bool:
        """Record a L{Send}, for the connection that the engine knows of."""
        self.traffic.append(Send(node, message, self._connections.heard(node.id)))
        return True

    def destroy(self) -> None:
        """Do nothing: the real transport is stopped elsewhere."""

    # Results, see L{Results <alacrity.cluster.raft.environment.Results>}

    def command_applied(self, result: object) -> None:
        """Record a L{CommandApplied}."""
        self._results.append(CommandApplied(result))

    def state_restored(self) -> None:
        """Record a L{StateRestored}."""
        self._results.append(StateRestored())

    def members_changed(self, request_id: str) -> None:
        """Record a L{MembersChanged}."""
        self._results.append(MembersChanged(request_id))

    def command_denied(self, request_id: str, reason: str, *, final: bool) -> None:
        """Record a L{CommandDenied}."""
        self._results.append(CommandDenied(request_id, reason, final))

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """Record a snapshot to be written."""
        # One at a time: the first one of a step is kept.
        self._snapshot = self._snapshot or snapshot

    def take_results(self) -> tuple[StepResult, ...]:
        """
        Remove the results recorded so far, and return them.
        """
        results, self._results = tuple(self._results), []
        return results

    def take_traffic(self) -> tuple[Traffic, ...]:
        """
        Remove the traffic recorded so far, and return it.
        """
        traffic, self.traffic = tuple(self.traffic), []
        return traffic

    def take(
        self, *, persist: bool, heartbeats: Iterable[tuple[Peer, AppendEntries]]
    ) -> StepEffects:
        """
        Remove everything recorded so far, and return it.
        """
        snapshot, self._snapshot = self._snapshot, None
        return StepEffects(
            persist, self.take_traffic(), self.take_results(), tuple(heartbeats), snapshot
        )


class StepperSettings(Protocol):
    """
    The settings of L{alacrity.cluster.replica_settings.ReplicaSettings} that the engine needs.
    """

    @property
    def timing(self) -> RaftTiming: ...
    @property
    def limits(self) -> RaftLimits: ...


class Stepper:
    """
    Runs an engine step by step.

    @ivar engine: the engine; its state may be read between the steps.
    """

    def __init__(
        self,
        make_engine: Callable[[Environment], Engine],
        member: Member,
        storage: Storage,
        machine: StateMachine,
        connections: Connections,
        rng: Random,
        settings: StepperSettings,
        fault: LinkFault = no_fault,
    ) -> None:
        """
        @param settings: the engine's times and bounds.
        @param fault: see L{Environment}.
        @raise CannotApply: the snapshot in the storage is not understood.
        """
        self._storage = storage
        self._connections = connections
        self._recorder = Recorder(connections)
        self.engine = make_engine(
            Environment(
                member,
                storage,
                self._recorder,
                machine,
                self._recorder,
                rng,
                settings.timing,
                settings.limits,
                fault,
            )
        )

    @property
    def route(self) -> tuple[str, int, int] | None:
        """
        The leader's name, its term, and the number of the connection with it; L{None}: no
        leader is known.
        """
        leader = self.engine.leader
        if leader is None:
            return None
        return leader.id, self.engine.term, self._connections.heard(leader.id)

    def step(
        self, mail: Iterable[Mail], proposals: Callable[[], Iterable[tuple[str, bytes]]]
    ) -> StepEffects:
        """
        Run one step: deliver mail, propose, and let the engine tick until there is no more to
        do.

        @param proposals: called once the mail is delivered; returns the request ids and the
            commands to propose.
        """
        engine = self.engine
        for each in mail:
            self._deliver(each)
        engine.begin_step()
        for request_id, command in proposals():
            engine.submit(request_id, command)
        # The engine of a standalone node commits in the tick after the one that appends.
        before = None
        now = engine.progress
        raft = engine.raft
        while raft.halted is None and before != now:
            before = now
            engine.tick()
            now = engine.progress
        return self.take_effects()

    def _deliver(self, mail: Mail) -> None:
        match mail:
            case Received(peer, message):
                self.engine.receive(peer, message)
            case Connected(peer, has_entries):
                self._connections.note_heard(peer.id)
                self.engine.connected(peer, has_entries=has_entries)
            case Disconnected(peer):
                self._connections.note_heard(peer.id)
                self.engine.disconnected(peer)
            case LogCompacted(rewrite):
                self._storage.adopt(rewrite)

    def replay(self, between: Callable[[tuple[StepResult, ...]], object]) -> None:
        """
        Apply all entries that are known to be committed when the node starts, without a step.

        @param between: called after each part of the entries, with its results.
        """
        self.engine.replay(lambda: between(self._recorder.take_results()))

    def take_effects(self) -> StepEffects:
        """
        Remove the effects recorded since the last call, and return them.
        """
        return self._recorder.take(
            persist=self._storage.dirty, heartbeats=self.engine.replication.heartbeats()
        )

    def complete(self, effects: StepEffects) -> StepEffects:
        """
        The effects of a step, with the messages that were recorded while the step was
        persisted. Only a leadership transfer records such messages, and they depend on nothing
        that is not on disk by then.
        """
        asked = self._recorder.take_traffic()
        if not asked:
            return effects
        return msgspec.structs.replace(effects, traffic=effects.traffic + asked)
